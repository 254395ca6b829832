"""The model server: the same question, the same answer; and misbehaviour on demand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from socialsync_sandbox.model import answer
from socialsync_sandbox.state import Gate


def chat(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": text}]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Hi\nAre you open?", "You wrote: Hi Are you open?"),
        ([{"type": "text", "text": "Hi"}, {"type": "image_url"}], "You wrote: Hi I saw a picture."),
        ([{"type": "image_url"}, {"type": "image_url"}], "I saw 2 pictures."),
        ("", "You wrote nothing."),
        (None, "You wrote nothing."),
    ],
)
def test_answer_says_back_the_last_user_message(content: Any, expected: str) -> None:
    messages = [{"role": "user", "content": "before"}, {"role": "user", "content": content}]
    assert answer([*messages, {"role": "assistant", "content": "after"}]) == expected


async def test_completion_with_usage(meta: Any) -> None:
    body = (await meta.http.post("/ai/v1/chat/completions", json=chat("Hi"))).json()
    assert body["choices"][0]["message"]["content"] == "You wrote: Hi"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    for wrong in ({}, {"messages": []}, chat("x") | {"stream": True}):
        assert (await meta.http.post("/ai/v1/chat/completions", json=wrong)).status_code == 400


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_errors_are_shaped_like_openais(meta: Any, status: int) -> None:
    await meta.http.put("/sandbox/model", json={"status": status})
    answer_ = await meta.http.post("/ai/v1/chat/completions", json=chat("Hi"))
    assert answer_.status_code == status
    assert set(answer_.json()["error"]) == {"message", "type", "param", "code"}
    await meta.http.delete("/sandbox/state")
    assert (await meta.http.post("/ai/v1/chat/completions", json=chat("Hi"))).status_code == 200


async def test_a_release_is_not_missed_by_who_is_about_to_wait() -> None:
    gate = Gate()
    waiting = gate.wait()
    gate.open()
    await asyncio.wait_for(waiting, 1)
    held = asyncio.create_task(gate.wait())
    await asyncio.sleep(0)
    assert gate.held == 1
    held.cancel()


async def test_calls_in_flight_are_counted_and_released(meta: Any) -> None:
    await meta.http.put("/sandbox/model", json={"hold": True, "text": "fixed"})
    calls = [
        asyncio.create_task(meta.http.post("/ai/v1/chat/completions", json=chat("Hi"))) for _ in range(20)
    ]
    await meta.until("model", lambda model: model["in_flight"] == 20)
    await meta.post("release")
    answers = [call.json()["choices"][0]["message"]["content"] for call in await asyncio.gather(*calls)]
    assert answers == ["fixed"] * 20
    report = await meta.get("model")
    assert (report["calls"], report["in_flight"], report["peak_in_flight"]) == (20, 0, 20)

"""The sandbox as a process of its own: broken connections, the real SDK, many calls at once."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator

import httpx
import openai
import pytest

from socialsync_cli.processes import free_port

TEXT = {"messaging_product": "whatsapp", "to": "16505551234", "type": "text", "text": {"body": "Hi"}}
TOKEN = {"authorization": "Bearer t"}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    port, gateway_port = free_port(), free_port()
    environment = os.environ | {
        "META_APP_SECRET": "s",
        "SANDBOX_GATEWAY_URL": f"http://127.0.0.1:{gateway_port}",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "socialsync_sandbox", "--port", str(port), env=environment
    )
    limits = httpx.Limits(max_connections=400)
    base_url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=base_url, limits=limits, timeout=20, trust_env=False) as client:
            async with asyncio.timeout(20):
                while True:
                    if await healthy(client):
                        break
                    await asyncio.sleep(0.05)
            yield client
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) in (0, -15)


async def healthy(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("kind", "accepted"), [("disconnect_before_accept", 0), ("disconnect_after_accept", 1)]
)
async def test_a_closed_connection_has_no_answer(http: httpx.AsyncClient, kind: str, accepted: int) -> None:
    await http.post("/sandbox/faults", json={"kind": kind})
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await http.post("/v24.0/1/messages", json=TEXT, headers=TOKEN)
    assert len((await http.get("/sandbox/sent")).json()) == accepted
    assert (await http.post("/v24.0/1/messages", json=TEXT, headers=TOKEN)).status_code == 200


async def test_a_client_that_leaves_a_hold_is_forgotten(http: httpx.AsyncClient) -> None:
    await http.post("/sandbox/faults", json={"kind": "hold_before_accept"})
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/v24.0/1/messages", json=TEXT, headers=TOKEN, timeout=0.3)
    async with asyncio.timeout(5):
        while True:
            if (await http.get("/sandbox/faults")).json()["held"] == 0:
                break
            await asyncio.sleep(0.01)
    assert (await http.get("/sandbox/sent")).json() == []


async def test_webhooks_survive_a_gateway_that_is_away(http: httpx.AsyncClient) -> None:
    say = {"platform": "whatsapp", "account": "1", "contact": "2", "text": "Hi", "retry_seconds": 0.5}
    (delivery,) = (await http.post("/sandbox/users/say", json=say)).json()["deliveries"]
    assert delivery["status"] == 0
    assert delivery["attempts"] >= 2
    await http.post("/v24.0/1/messages", json=TEXT, headers=TOKEN)
    assert (await http.get("/sandbox/pending")).json()["pending"] == 1
    await http.delete("/sandbox/state")
    assert (await http.get("/sandbox/pending")).json()["pending"] == 0


async def test_the_openai_sdk_works_and_many_calls_wait_at_once(http: httpx.AsyncClient) -> None:
    await http.put("/sandbox/model", json={"delay_seconds": 1.0})
    async with openai.AsyncOpenAI(
        base_url=str(http.base_url.join("/ai/v1/")), api_key="k", max_retries=0
    ) as ai:
        assert [model.id async for model in ai.models.list()] == ["sandbox"]
        began = time.monotonic()
        completions = await asyncio.gather(
            *(
                ai.chat.completions.create(model="m", messages=[{"role": "user", "content": str(number)}])
                for number in range(250)
            )
        )
        assert time.monotonic() - began < 10
        texts = [completion.choices[0].message.content for completion in completions]
        assert texts == [f"You wrote: {number}" for number in range(250)]
        assert completions[0].usage is not None
        report = (await http.get("/sandbox/model")).json()
        assert (report["calls"], report["in_flight"]) == (250, 0)
        assert report["peak_in_flight"] >= 200
        await http.put("/sandbox/model", json={"status": 429})
        with pytest.raises(openai.RateLimitError):
            await ai.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        await http.put("/sandbox/model", json={})
        transcript = await ai.audio.transcriptions.create(model="m", file=("voice.ogg", b"OggS", "audio/ogg"))
        assert transcript.text

"""People who comment, what Meta tells of it, the allowance of calls, ordered faults, floods and the report."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest

IG = "17841400000000001"
PAGE = "1000000000001"
ADA = {"id": "7701", "name": "ada"}
HOUR = 3600
SECONDS_A_PAGE = 0.003  # of processor time, with the client's


async def post(meta: Any, account: str = IG, **more: Any) -> str:
    platform = "instagram" if account == IG else "messenger"
    body = {"platform": platform, "account": account, **more}
    return str((await meta.post("comments/posts", **body))["posts"][0])


async def write(meta: Any, post: str, text: str = "How much?", **more: Any) -> Any:
    return await meta.post("comments/write", post=post, text=text, author=ADA, **more)


def at(meta: Any, seconds: float) -> None:
    """It is that much later."""
    now = time.time() + seconds
    meta.sandbox.posts.clock = lambda: now


# --- webhooks ---


async def test_instagram_tells_of_a_comment(meta: Any, gateway: Any) -> None:
    media = await post(meta, kind="reel")
    gateway.answers.append(503)
    written = await write(meta, media, age_seconds=50)
    assert written["deliveries"] == [{"status": 200, "attempts": 2}]
    ((platform, body),) = gateway.received
    assert (platform, body["object"]) == ("instagram", "instagram")
    (entry,) = body["entry"]
    assert (entry["id"], abs(time.time() - 50 - entry["time"]) < 10) == (IG, True)
    assert entry["changes"] == [
        {
            "field": "comments",
            "value": {
                "from": {"id": "7701", "username": "ada"},
                "media": {"id": media, "media_product_type": "REELS"},
                "id": written["comment_id"],
                "text": "How much?",
            },
        }
    ]
    reply = await write(meta, media, parent=written["comment_id"], live=True)
    (change,) = gateway.received[1][1]["entry"][0]["changes"]
    assert (change["field"], change["value"]["id"]) == ("live_comments", reply["comment_id"])
    assert change["value"]["parent_id"] == written["comment_id"]


async def test_the_other_shapes(meta: Any, gateway: Any) -> None:
    media = await post(meta)
    other = (await write(meta, media, shape="comment_id"))["comment_id"]
    flat = (await write(meta, media, shape="flat"))["comment_id"]
    first, second = (body["entry"][0] for _, body in gateway.received)
    assert first["changes"][0]["value"]["comment_id"] == other
    assert "id" not in first["changes"][0]["value"]
    assert (second["id"], second["field"], second["value"]["id"]) == (IG, "comments", flat)
    assert "changes" not in second


async def test_a_page_tells_of_what_happens_to_a_comment(meta: Any, gateway: Any) -> None:
    post_id = await post(meta, PAGE)
    comment = (await write(meta, post_id, platform="messenger"))["comment_id"]
    reply = (await write(meta, post_id, parent=comment))["comment_id"]
    for action, more in (("edit", {"text": "How much is it?"}), ("hide", {}), ("delete", {})):
        told = await meta.post(f"comments/{action}", comment=comment, **more)
        assert told["deliveries"] == [{"status": 200, "attempts": 1}]
    assert [body["object"] for _, body in gateway.received] == ["page"] * 5
    values = gateway.values
    assert [value["verb"] for value in values] == ["add", "add", "edited", "hide", "remove"]
    assert {value["item"] for value in values} == {"comment"}
    assert [(value["comment_id"], value["parent_id"]) for value in values[:2]] == [
        (comment, post_id),
        (reply, comment),
    ]
    assert (values[2]["message"], values[2]["from"]) == ("How much is it?", ADA)
    assert {value["post_id"] for value in values} == {post_id}
    assert abs(values[0]["created_time"] - time.time()) < 10


async def test_instagram_is_silent_about_changes(meta: Any, gateway: Any) -> None:
    comment = (await write(meta, await post(meta), webhook=False))["comment_id"]
    assert await meta.post("comments/edit", comment=comment, text="x") == {"deliveries": []}
    assert (await meta.graph("GET", comment))["text"] == "x"
    await meta.post("comments/hide", comment=comment)
    await meta.post("comments/delete", comment=comment)
    assert gateway.received == []
    for action, more in (("edit", {"text": "x"}), ("hide", {}), ("delete", {}), ("person", {"text": "x"})):
        answer = await meta.http.post(f"/sandbox/comments/{action}", json={"comment": comment, **more})
        assert answer.status_code == 404


async def test_duplicates_and_wrong_places(meta: Any, gateway: Any) -> None:
    media, other = await post(meta), await post(meta)
    written = await write(meta, media, duplicates=2)
    assert len(written["deliveries"]) == 3
    assert len({orjson.dumps(body) for _, body in gateway.received}) == 1
    for wrong in (
        {"post": "5"},
        {"post": media, "platform": "messenger"},
        {"post": media, "parent": "5"},
        {"post": other, "parent": written["comment_id"]},
    ):
        body = {"author": ADA, "text": "x", **wrong}
        assert (await meta.http.post("/sandbox/comments/write", json=body)).status_code == 404
    assert (await meta.http.get("/sandbox/comments/threads?post=5")).status_code == 404


@pytest.mark.parametrize("account", [IG, PAGE])
async def test_a_person_of_the_business_answers(meta: Any, gateway: Any, account: str) -> None:
    post_id = await post(meta, account)
    comment = (await write(meta, post_id, webhook=False))["comment_id"]
    answered = await meta.post("comments/person", comment=comment, text="Four euros")
    assert answered["deliveries"] == [{"status": 200, "attempts": 1}]
    (value,) = gateway.values
    assert (value["from"]["id"], value["parent_id"]) == (account, comment)
    silent = await meta.post("comments/person", comment=comment, text="Five", webhook=False)
    assert silent["deliveries"] == []
    (thread,) = (await meta.get("comments/threads", post=post_id))["threads"]
    assert (thread["by"], thread["author"]) == ("contact", ADA)
    assert [(each["by"], each["text"]) for each in thread["replies"]] == [
        ("person", "Four euros"), ("person", "Five"),
    ]  # fmt: skip
    report = await meta.get("comments/report")
    assert (report["comments"], report["replies"], report["doubled"]) == (1, {}, 0)


async def test_mentions(meta: Any, gateway: Any) -> None:
    await meta.post("comments/mention", account=IG, comment_id="11", media_id="22")
    await meta.post("comments/mention", account=IG)
    changes = [body["entry"][0]["changes"][0] for _, body in gateway.received]
    assert [change["field"] for change in changes] == ["mentions", "mentions"]
    assert changes[0]["value"] == {"comment_id": "11", "media_id": "22"}
    assert set(changes[1]["value"]) == {"media_id"}


# --- the allowance ---


def usage(answer: Any, account: str = IG) -> tuple[Any, Any]:
    (case,) = orjson.loads(answer.headers["x-business-use-case-usage"])[account]
    return orjson.loads(answer.headers["x-app-usage"]), case


async def test_without_an_allowance_nothing_is_used(meta: Any) -> None:
    media = await post(meta)
    app, case = usage(await meta.ask("GET", f"{media}/comments", limit=50))
    assert app == {"call_count": 0, "total_cputime": 0, "total_time": 0}
    assert case == {"type": "instagram", **app, "estimated_time_to_regain_access": 0}
    assert (await meta.get("comments/report"))["peak_usage_percent"] == 0


@pytest.mark.parametrize(("account", "kind", "code"), [(IG, "instagram", 80002), (PAGE, "pages", 80001)])
async def test_an_allowance_is_used_up_and_comes_back(meta: Any, account: str, kind: str, code: int) -> None:
    post_id = await post(meta, account)
    comment = (await write(meta, post_id, webhook=False))["comment_id"]
    await meta.post("usage", account=account, calls_per_window=4, window_seconds=HOUR)
    at(meta, 0)
    calls = [("GET", f"{post_id}/comments"), ("GET", comment), ("GET", "5"), ("GET", post_id)]
    answers = [await meta.ask(method, path, fields="timestamp") for method, path in calls]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 200]
    assert "x-app-usage" not in answers[2].headers
    used = [usage(answers[place], account) for place in (0, 1, 3)]
    assert [(app["call_count"], case["call_count"]) for app, case in used] == [(25, 25), (50, 50), (75, 75)]
    assert {case["type"] for _, case in used} == {kind}
    at(meta, HOUR / 2)
    edge = "comments" if account == PAGE else "replies"
    assert (await meta.ask("POST", f"{comment}/{edge}", {"message": "x"})).status_code == 200
    refused = await meta.ask("POST", f"{comment}/{edge}", {"message": "again"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    _, case = usage(refused, account)
    assert (case["call_count"], case["estimated_time_to_regain_access"]) == (125, 30)
    at(meta, HOUR + 1)
    _, case = usage(await meta.ask("GET", comment), account)
    assert case["call_count"] == 50
    report = await meta.get("comments/report")
    assert (report["peak_usage_percent"], report["calls"]["throttled"]) == (125, 1)
    assert report["replies"] == {comment: ["x"]}


# --- faults ---


@pytest.mark.parametrize("account", [IG, PAGE])
async def test_every_step_can_fail(meta: Any, account: str) -> None:
    post_id = await post(meta, account)
    comment = (await write(meta, post_id, webhook=False))["comment_id"]
    edge = "comments" if account == PAGE else "replies"
    private = {"recipient": {"comment_id": comment}, "message": {"text": "x"}}
    calls: list[tuple[str, str, str, Any, dict[str, str]]] = [
        ("details", "GET", post_id, None, {"fields": "id,timestamp"}),
        ("comments", "GET", f"{post_id}/comments", None, {"limit": "50"}),
        ("comments", "GET", f"{comment}/{edge}", None, {}),
        ("comment_state", "GET", comment, None, {}),
        ("reply", "POST", f"{comment}/{edge}", {"message": "x"}, {}),
        ("private_reply", "POST", f"{account}/messages", private, {}),
        ("hide", "POST", comment, {"is_hidden": True}, {"hide": "true"}),
    ]
    if account == PAGE:
        calls.append(("like", "POST", f"{comment}/likes", None, {}))
    else:
        calls.append(("comments", "GET", post_id, None, {"fields": "comments.limit(9){timestamp}"}))
    for step, method, path, body, query in calls:
        await meta.post("posting-faults", step=step, kind="throttled", account=account)
        assert await meta.refused(method, path, body, **query) == (400, 4, None), step
        assert (await meta.get("posting-faults"))["faults"] == []
    report = await meta.get("comments/report")
    assert (report["replies"], report["private"], report["hidden"], report["liked"]) == ({}, {}, [], [])
    assert report["calls"] == {
        "details": 1, "page": 3 - (account == PAGE), "state": 1, "reply": 1, "private_reply": 1, "hide": 1,
        "like": int(account == PAGE), "throttled": len(calls),
    }  # fmt: skip


async def test_an_answer_that_happens_and_is_not_told(meta: Any) -> None:
    comment = (await write(meta, await post(meta), webhook=False))["comment_id"]
    await meta.post("posting-faults", step="reply", kind="server_error_after")
    assert (await meta.ask("POST", f"{comment}/replies", {"message": "Four"})).status_code == 500
    assert (await meta.get("comments/report"))["doubled"] == 0
    await meta.graph("POST", f"{comment}/replies", {"message": "Four"})
    report = await meta.get("comments/report")
    assert (report["replies"], report["doubled"]) == ({comment: ["Four", "Four"]}, 1)


async def test_a_comment_that_goes_while_its_answer_is_held(meta: Any) -> None:
    comment = (await write(meta, await post(meta), webhook=False))["comment_id"]
    await meta.post("posting-faults", step="reply", kind="hold_before")
    held = asyncio.create_task(meta.refused("POST", f"{comment}/replies", {"message": "Four"}))
    await meta.until("posting-faults", lambda faults: faults["held"] == 1)
    await meta.post("comments/delete", comment=comment)
    await meta.post("release")
    assert await held == (400, 100, 33)
    assert (await meta.get("comments/report"))["replies"] == {}


# --- floods, the report, and the page ---


async def flood(meta: Any, posts: list[str], **more: Any) -> Any:
    return await meta.post("comments/flood", platform="instagram", posts=posts, **more)


async def test_a_flood(meta: Any, gateway: Any) -> None:
    posts = (await meta.post("comments/posts", platform="instagram", account=IG, count=3))["posts"]
    posts.append(
        (await meta.post("comments/posts", platform="instagram", account="17841400000000002"))["posts"][0]
    )
    gateway.answers.extend([500, 200, 503])
    counts = await flood(meta, posts, comments=405, authors=7, texts=["a", "b"], duplicate_share=0.2)
    assert counts["comments"] == 405
    assert counts["webhooks"] + counts["silent"] == 405
    assert counts["silent"] in range(15, 80)
    assert counts["duplicates"] in range(30, 120)
    assert counts["replies"] in range(40, 130)
    assert (counts["bodies"], counts["abandoned"]) == (len(gateway.received), 0)
    entries = [entry for _, body in gateway.received for entry in body["entry"]]
    assert {entry["id"] for entry in entries} == {IG, "17841400000000002"}
    told = [value["id"] for value in gateway.values]
    assert len(told) == counts["webhooks"] + counts["duplicates"]
    assert len(set(told)) == counts["webhooks"]
    assert max(len(entry["changes"]) for entry in entries) > 5
    threads = [await meta.get("comments/threads", post=post) for post in posts]
    assert sum(each["count"] for each in threads) == 405
    tops = [top for each in threads for top in each["threads"]]
    assert sum(len(top["replies"]) for top in tops) == counts["replies"]
    assert len({top["author"]["id"] for top in tops}) == 7
    assert {top["text"] for top in tops} == {"a", "b"}
    assert (await meta.get("comments/report"))["comments"] == 405


async def test_floods_of_a_seed_are_alike(meta: Any, gateway: Any) -> None:
    said: list[list[tuple[str, str]]] = []
    for seed in (1, 1, 2):
        media = await post(meta)
        counts = await flood(meta, [media], comments=50, seed=seed, webhook_share=0)
        assert (counts["silent"], counts["bodies"]) == (50, 0)
        threads = (await meta.get("comments/threads", post=media))["threads"]
        said.append([(top["author"]["id"], top["text"]) for top in threads])
    assert said[0] == said[1] != said[2]
    assert gateway.received == []
    body = {"platform": "messenger", "posts": [media]}
    assert (await meta.http.post("/sandbox/comments/flood", json=body)).status_code == 404


async def test_the_report(meta: Any) -> None:
    media = await post(meta)
    at(meta, 0)
    comments = [(await write(meta, media, webhook=False, age_seconds=HOUR))["comment_id"] for _ in range(2)]
    at(meta, 10)
    await meta.graph("POST", f"{comments[0]}/replies", {"message": "Four"})
    private = {"recipient": {"comment_id": comments[0]}, "message": {"text": "Psst"}}
    await meta.graph("POST", f"{IG}/messages", private)
    await meta.graph("POST", comments[1], hide="true")
    report = await meta.get("comments/report")
    seconds = report.pop("answer_seconds")
    assert seconds.pop("n") == 1
    assert all(9 < each < 11 for each in seconds.values())
    assert report == {
        "comments": 2, "replies": {comments[0]: ["Four"]}, "private": {comments[0]: ["Psst"]}, "hidden": [comments[1]],
        "liked": [], "doubled": 0, "peak_usage_percent": 0,
        "calls": {"details": 0, "page": 0, "state": 0, "reply": 1, "private_reply": 1, "hide": 1, "like": 0, "throttled": 0},
    }  # fmt: skip
    brief = await meta.get("comments/report", brief=1)
    assert [brief[name] for name in ("replies", "private", "hidden", "liked")] == [1, 1, 1, 0]
    await meta.post("usage", account=IG, calls_per_window=1)
    await meta.delete("state")
    empty = await meta.get("comments/report")
    assert (empty["comments"], empty["replies"], empty["answer_seconds"]["p50"]) == (0, {}, None)
    assert (await meta.http.get(f"/sandbox/comments/threads?post={media}")).status_code == 404
    assert (await meta.ask("GET", comments[0])).status_code == 400


async def test_the_page_shows_threads(meta: Any) -> None:
    media = await post(meta, caption="Rye")
    top = (await write(meta, media, "<b>How much?</b>", webhook=False))["comment_id"]
    await meta.graph("POST", f"{top}/replies", {"message": "Four euros"})
    page = (await meta.http.get("/")).text
    assert page.count("<article>") == 1
    assert page.index("Rye") < page.index("ada: &lt;b&gt;How much?&lt;/b&gt;") < page.index("Four euros")
    await meta.post("comments/hide", comment=top)
    assert "[hidden]" in (await meta.http.get("/")).text
    await flood(meta, [media], comments=100, webhook_share=0, texts=["crowded"])
    page = (await meta.http.get("/")).text
    assert "102 comments in all" in page
    assert page.count("crowded") < 60


async def test_a_page_of_comments_costs_the_same_beside_many(meta: Any) -> None:
    media = await post(meta)
    await flood(meta, [media], comments=40_000, webhook_share=0, reply_share=0, per_body=1000)
    after: dict[str, str] = {}
    began = time.process_time()
    for _ in range(100):
        page = await meta.graph("GET", f"{media}/comments", fields="id,timestamp", limit=50, **after)
        after = {"after": page["paging"]["cursors"]["after"]}
    assert (time.process_time() - began) / 100 < SECONDS_A_PAGE

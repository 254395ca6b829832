"""The Graph client for comments: what each fault proves, and what answers tell of the allowance."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from comments_wire import (
    IG,
    PAGE,
    READS,
    WRITES,
    Wire,
    do,
    edge,
    failed,
    fb_row,
    ids,
    ig_row,
    instagram,
    page,
)
from socialsync_common.contracts import Platform
from socialsync_common.errors import (
    AuthenticationExpired,
    PermanentError,
    SocialSyncError,
    TransientError,
    UnknownOutcome,
    WindowClosed,
)
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.allowance import Usage
from socialsync_common.platforms.comments import (
    AlreadyReplied,
    CommentsApi,
    Gone,
    ServerFault,
    Throttled,
)
from socialsync_common.platforms.instagram_comments import InstagramComments
from socialsync_common.platforms.publishing import Channel
from socialsync_common.settings import GraphSettings


@pytest.mark.parametrize(("api", "channel", "name"), WRITES)
@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("late"),
        httpx.RemoteProtocolError("cut"),
        failed(500, 1),
        failed(503),
        failed(500, 4),
        failed(400, 2),
        failed(408),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, json={"success": False}),
    ],
)
def test_a_write_may_have_happened(
    api: Callable[[Wire], CommentsApi], channel: Channel, name: str, answer: Any
) -> None:
    wire = Wire(answer)
    with pytest.raises(UnknownOutcome):
        do(api(wire), channel, name)
    assert len(wire.requests) == 1  # never repeated


@pytest.mark.parametrize(("api", "channel", "name"), [each for each in WRITES if "reply" in each[2]])
def test_an_answer_without_an_id_may_have_been_said(
    api: Callable[[Wire], CommentsApi], channel: Channel, name: str
) -> None:
    with pytest.raises(UnknownOutcome, match="gave no"):
        do(api(Wire({"success": True})), channel, name)


REFUSALS = [
    *((failed(400, code), Throttled) for code in (4, 17, 32, 613, 80001, 80002, 80006)),
    (failed(429), Throttled),
    (failed(400, 368), TransientError),
    (failed(400, 100, 33), Gone),
    (failed(404, 803), Gone),
    (failed(400, 24), Gone),
    (failed(400, 100), PermanentError),
    (failed(403, 200), PermanentError),
    (failed(401, 190), AuthenticationExpired),
    (httpx.ConnectError("refused"), TransientError),
]


@pytest.mark.parametrize(("api", "channel", "name"), READS + WRITES)
@pytest.mark.parametrize(("answer", "kind"), REFUSALS)
def test_refusals(
    api: Callable[[Wire], CommentsApi],
    channel: Channel,
    name: str,
    answer: Any,
    kind: type[SocialSyncError],
) -> None:
    wire = Wire(answer)
    with pytest.raises(SocialSyncError) as raised:
        do(api(wire), channel, name)
    assert type(raised.value) is kind
    assert "somebody wrote" not in str(raised.value)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (failed(400, 10900), AlreadyReplied, "already answered privately"),
        (failed(400, 10903), PermanentError, "cannot be answered privately"),
        (failed(400, 551), PermanentError, "cannot be reached"),
        (failed(400, 10, 2534022), WindowClosed, "seven days"),
    ],
)
def test_private_replies_that_cannot_be(answer: Any, kind: type[SocialSyncError], words: str) -> None:
    for api, channel in ((instagram, IG), (page, PAGE)):
        with pytest.raises(PermanentError, match=words) as raised:
            api(Wire(answer)).reply_privately(channel, "2", "Hello")
        assert type(raised.value) is kind


# reads over which the platform fails


@pytest.mark.parametrize(("api", "channel", "name"), READS)
@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_read_that_the_platform_fails_over_asks_for_less_once(
    api: Callable[[Wire], CommentsApi], channel: Channel, name: str, status: int
) -> None:
    wire = Wire(failed(status, 1))
    with pytest.raises(ServerFault, match=f"HTTP {status}"):
        do(api(wire), channel, name)
    full, less = (each["fields"] for each in wire.asked)
    assert len(less) < len(full)
    assert "{" not in less
    assert "time" in less  # Instagram's timestamp, a Page's created_time


@pytest.mark.parametrize(("api", "channel", "name"), READS)
@pytest.mark.parametrize("answer", [httpx.ReadTimeout("late"), failed(400, 1), httpx.Response(200), [1], 7])
def test_a_read_without_an_answer_has_failed(
    api: Callable[[Wire], CommentsApi], channel: Channel, name: str, answer: Any
) -> None:
    wire = Wire(answer)
    with pytest.raises(TransientError) as raised:
        do(api(wire), channel, name)
    assert not isinstance(raised.value, ServerFault)
    assert len(wire.requests) == 1


def test_comments_that_are_read_alone_may_all_have_replies() -> None:
    for after in (None, "c50"):
        wire = Wire(failed(500, 1), edge(ig_row("9"), ig_row("8"), after="c100"))
        found = instagram(wire).page(IG, "55", after)
        assert (ids(found), found.after) == ([("9", None), ("8", None)], "c100")
        assert (found.count, found.unfinished_threads) == (None, ("9", "8"))
        assert wire.called[1] == "GET 55/comments"
        assert wire.asked[1].get("after") == after


def test_a_state_that_is_read_in_parts() -> None:
    wire = Wire(failed(500, 1), ig_row("2"), edge(ig_row("3"), after="r1"), edge(ig_row("4")))
    found = instagram(wire).state(IG, "2")
    assert ([each.id for each in found.replies], found.complete) == (["3", "4"], True)
    assert wire.called == ["GET 2", "GET 2", "GET 2/replies", "GET 2/replies"]


def test_a_pages_comments_with_less() -> None:
    wire = Wire(failed(500, 1), {**edge(fb_row("5_1")), "summary": {"total_count": 1}})
    assert page(wire).page(PAGE, "1080_5").count == 1
    assert wire.asked[1]["fields"] == "id,message,created_time,from,parent,is_hidden"


# the allowance


def business(*entries: dict[str, Any], account: str = "1784", **others: Any) -> str:
    return json.dumps({account: list(entries), **others})


@pytest.mark.parametrize(
    ("app", "account", "usage"),
    [
        ('{"call_count": 12, "total_time": 3, "total_cputime": 2}', None, Usage(12, 0)),
        (None, business({"call_count": 1, "total_cputime": 2.5, "total_time": 0}), Usage(2.5, 0)),
        (
            '{"call_count": 1}',
            business(
                {"type": "instagram", "call_count": 40}, {"type": "messaging", "total_time": 104, "estimated_time_to_regain_access": 7}
            ),
            Usage(104, 420),
        ),
        # another account's
        (None, business({"call_count": 4}, other=[{"call_count": 90}]), Usage(4, 0)),
        # the account by another id
        (None, business({"call_count": 4}, account="app-scoped"), Usage(4, 0)),
        (None, None, None),
        ("{", "[1]", None),
        ("[" * 100_000, '{"1784": 7}', None),
        ('{"call_count": "12"}', '{"1784": [3, {"call_count": true}]}', Usage(0, 0)),
        ('{"call_count": NaN, "total_time": 1e999, "total_cputime": -3}', None, Usage(0, 0)),
        (f'{{"call_count": {"9" * 400}}}', None, Usage(1e6, 0)),
        ('{"estimated_time_to_regain_access": 999999}', None, Usage(0, 86_400)),
    ],
)  # fmt: skip
def test_usage(app: str | None, account: str | None, usage: Usage | None) -> None:
    headers = {"X-App-Usage": app, "X-Business-Use-Case-Usage": account}
    answer = httpx.Response(200, json=edge(), headers={name: text for name, text in headers.items() if text})
    mine = instagram(Wire(answer))
    assert mine.usage(IG) is None
    mine.replies(IG, "2")
    assert mine.usage(IG) == usage


def told(percent: int, status: int = 200) -> httpx.Response:
    header = {"X-App-Usage": json.dumps({"call_count": percent})}
    return httpx.Response(status, json=edge(), headers=header)


def test_the_newest_usage_of_each_account_counts() -> None:
    other = Channel(Platform.INSTAGRAM, "1785", "IGAA-other")
    mine = instagram(Wire(told(90), told(40), told(7), {}))
    mine.replies(IG, "2")
    mine.replies(IG, "2")
    mine.replies(other, "2")
    mine.replies(other, "2")  # an answer without the headers
    assert (mine.usage(IG), mine.usage(other)) == (Usage(40, 0), Usage(7, 0))


def test_refusals_tell_of_the_allowance_too() -> None:
    header = business({"call_count": 101, "estimated_time_to_regain_access": 5})
    mine = instagram(Wire(failed(400, 80002, x_business_use_case_usage=header)))
    with pytest.raises(Throttled) as raised:
        mine.page(IG, "55")
    assert raised.value.retry_after == 300
    assert mine.usage(IG) == Usage(101, 300)


@pytest.mark.parametrize(
    ("told", "seconds"), [("", 300), ("17", 17), ("soon", 300), ("²", 300), ("9" * 9, 86_400), ("9" * 40, 300)]
)  # fmt: skip
def test_how_long_a_throttled_account_waits(told: str, seconds: float) -> None:
    answer = httpx.Response(429, headers=[(b"retry-after", told.encode())])
    with pytest.raises(Throttled) as raised:
        instagram(Wire(answer)).page(IG, "55")
    assert raised.value.retry_after == seconds


def test_one_client_serves_many_threads() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        account = request.headers["authorization"].rpartition("-")[2]
        return httpx.Response(
            200, json=edge(), headers={"X-App-Usage": json.dumps({"call_count": int(account)})}
        )

    transport = httpx.MockTransport(answer)
    mine = InstagramComments(GraphClient(GraphSettings(), httpx.Client(transport=transport)))
    channels = [Channel(Platform.INSTAGRAM, str(number), f"t-{number}") for number in range(50)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda channel: mine.page(channel, "55"), channels * 4))
    assert [mine.usage(channel) for channel in channels] == [Usage(number, 0) for number in range(50)]

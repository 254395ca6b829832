"""The Graph client for comments against the sandbox as a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sandbox_process import MetaSandbox, sandbox_process
from socialsync_common.contracts import Platform
from socialsync_common.errors import (
    AuthenticationExpired,
    PermanentError,
    TransientError,
    UnknownOutcome,
    WindowClosed,
)
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.comments import AlreadyReplied, CommentPage, CommentsApi, Gone, Throttled
from socialsync_common.platforms.instagram_comments import InstagramComments
from socialsync_common.platforms.page_comments import PageComments
from socialsync_common.platforms.publishing import Channel
from socialsync_common.settings import GraphSettings
from support import TEST_SECRETS

ADA = {"id": "7701", "name": "ada"}
BEN = {"id": "7702", "name": "ben"}
WEEK = 7 * 86_400


@dataclass(frozen=True)
class Account:
    """A connected account of the sandbox, and the client for it."""

    meta: MetaSandbox
    channel: Channel
    api: CommentsApi
    http: httpx.Client

    def post(self, **more: Any) -> str:
        body = {"platform": self.channel.platform, "account": self.channel.external_id, **more}
        found: str = self._control("posts", body)["posts"][0]
        return found

    def write(self, post: str, text: str, author: dict[str, str] = ADA, **more: Any) -> str:
        """A comment of which no webhook tells."""
        body = {"platform": self.channel.platform, "post": post, "author": author, "text": text}
        found: str = self._control("write", {**body, "webhook": False, **more})["comment_id"]
        return found

    def change(self, how: str, comment: str, **more: Any) -> None:
        self._control(how, {"comment": comment, "webhook": False, **more})

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = self.meta.control("GET", "comments/report")
        return found

    def all(self, post: str) -> list[CommentPage]:
        pages = [self.api.page(self.channel, post)]
        while pages[-1].after:
            pages.append(self.api.page(self.channel, post, pages[-1].after))
        return pages

    def _control(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.http.post(f"{self.meta.url}/sandbox/comments/{path}", json=body)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[MetaSandbox]:
    with sandbox_process() as sandbox:
        yield sandbox


@pytest.fixture
def connect(sandbox: MetaSandbox) -> Iterator[Callable[[Platform], Account]]:
    settings = GraphSettings(
        meta_graph_url=sandbox.url, meta_app_secret=TEST_SECRETS["META_APP_SECRET"], graph_timeout_seconds=5
    )
    graph = GraphClient(settings)

    def connect(platform: Platform) -> Account:
        is_instagram = platform is Platform.INSTAGRAM
        channel = Channel(platform, "17841400000000001" if is_instagram else "1000000000001", "token-1")
        sandbox.account(platform, channel.external_id, channel.token)
        api: CommentsApi = InstagramComments(graph) if is_instagram else PageComments(graph)
        return Account(sandbox, channel, api, graph.http)

    yield connect
    graph.http.close()
    sandbox.control("DELETE", "state")


@pytest.fixture
def ig(connect: Callable[[Platform], Account]) -> Account:
    return connect(Platform.INSTAGRAM)


@pytest.fixture
def fb(connect: Callable[[Platform], Account]) -> Account:
    return connect(Platform.MESSENGER)


@pytest.fixture(params=["ig", "fb"])
def account(request: pytest.FixtureRequest) -> Account:
    found: Account = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(
    ("kind", "pictures", "shown"), [("image", 1, 1), ("reel", 1, 1), ("video", 1, 1), ("carousel", 6, 4)]
)
def test_posts_with_pictures(account: Account, kind: str, pictures: int, shown: int) -> None:
    post = account.post(kind=kind, caption="Rye & spelt 🍞", pictures=pictures, age_seconds=60)
    details = account.api.details(account.channel, post)
    assert (details.kind, details.caption) == (kind, "Rye & spelt 🍞")
    assert details.permalink
    assert details.published_at is not None
    assert abs(datetime.now(UTC) - timedelta(seconds=60) - details.published_at) < timedelta(seconds=30)
    assert len(details.picture_urls) == shown
    for url in details.picture_urls:
        answer = account.http.get(url)
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.content.startswith(b"\xff\xd8")


def test_a_pages_text(fb: Account) -> None:
    details = fb.api.details(fb.channel, fb.post(kind="text", caption="Closed today"))
    assert (details.kind, details.caption, details.picture_urls) == ("text", "Closed today", ())


def test_a_comment_and_its_replies(account: Account) -> None:
    post = account.post(kind="image", caption="Rye")
    top = account.write(post, "How much?")
    reply = account.write(post, "I wonder, too", BEN, parent=top)
    newest = account.write(post, "Ist das 100 % Roggen? 🌾", BEN)
    page = account.api.page(account.channel, post)
    found = {each.id: each for each in page.comments}
    assert page.comments[0].id == newest
    assert {each.id: (each.parent_id, each.author_id) for each in page.comments} == {
        newest: (None, "7702"),
        top: (None, "7701"),
        reply: (top, "7702"),
    }
    assert (page.count, page.after, page.unfinished_threads) == (3, None, ())
    assert (found[newest].text, found[newest].author_name) == ("Ist das 100 % Roggen? 🌾", "ben")
    assert not found[newest].hidden
    assert found[newest].written_at is not None
    assert account.api.details(account.channel, post).comments_count in (3, None)
    assert [each.id for each in account.api.replies(account.channel, top).comments] == [reply]


def test_more_comments_than_one_page_shows(account: Account) -> None:
    post = account.post(kind="image")
    written = [account.write(post, f"comment {number}") for number in range(120)]
    pages = account.all(post)
    assert [len(page.comments) for page in pages] == [50, 50, 20]
    assert [page.count for page in pages] == [120, None, None]
    assert {each.id for page in pages for each in page.comments} == set(written)


def test_more_replies_than_are_shown_with_their_comment(account: Account) -> None:
    post = account.post(kind="image")
    top = account.write(post, "How much?")
    written = [account.write(post, f"reply {number}", BEN, parent=top) for number in range(60)]
    state = account.api.state(account.channel, top)
    assert state.complete
    assert sorted(each.id for each in state.replies) == sorted(written)
    assert state.replies[0].text == "reply 0"
    assert {each.parent_id for each in state.replies} == {top}
    first = account.api.replies(account.channel, top)
    second = account.api.replies(account.channel, top, first.after)
    assert (len(first.comments), len(second.comments), second.after) == (50, 10, None)


def test_instagram_tells_which_threads_go_on(ig: Account) -> None:
    post = ig.post(kind="image")
    top = ig.write(post, "How much?")
    for number in range(51):
        ig.write(post, f"reply {number}", BEN, parent=top)
    page = ig.api.page(ig.channel, post)
    assert (len(page.comments), page.count, page.unfinished_threads) == (51, 52, (top,))


def test_a_public_answer_is_seen_in_the_state(account: Account) -> None:
    post = account.post(kind="image")
    comment = account.write(post, "How much?")
    before = account.api.state(account.channel, comment)
    assert (before.comment.text, before.replies, before.complete) == ("How much?", (), True)
    ours = account.api.reply(account.channel, comment, "Four euros 🍞")
    (seen,) = account.api.state(account.channel, comment).replies
    assert (seen.id, seen.text, seen.author_id) == (ours, "Four euros 🍞", account.channel.external_id)
    account.change("person", comment, text="And three on Monday")
    after = account.api.state(account.channel, comment)
    assert [each.text for each in after.replies] == ["Four euros 🍞", "And three on Monday"]
    assert account.report()["replies"][comment][0] == "Four euros 🍞"


def test_what_answers_a_reply_on_instagram_is_found_at_its_parent(ig: Account) -> None:
    post = ig.post(kind="image")
    top = ig.write(post, "How much?")
    reply = ig.write(post, "And the spelt one?", parent=top)
    ours = ig.api.reply(ig.channel, reply, "Five")
    assert ig.api.state(ig.channel, reply).comment.parent_id == top
    assert ours in [each.id for each in ig.api.state(ig.channel, top).replies]


def test_a_private_answer_leaves_once(account: Account) -> None:
    comment = account.write(account.post(kind="image"), "How much?")
    assert account.api.reply_privately(account.channel, comment, "Four euros")
    with pytest.raises(AlreadyReplied):
        account.api.reply_privately(account.channel, comment, "Four euros")
    assert account.report()["private"] == {comment: ["Four euros"]}


def test_an_old_comment_has_no_private_answer(account: Account) -> None:
    post = account.post(kind="image", age_seconds=WEEK + 7200)
    comment = account.write(post, "How much?", age_seconds=WEEK + 3600)
    with pytest.raises(WindowClosed, match="seven days"):
        account.api.reply_privately(account.channel, comment, "Four euros")


def test_edits_and_hiding_are_seen(account: Account) -> None:
    comment = account.write(account.post(kind="image"), "How much?")
    account.change("edit", comment, text="How much is it?")
    assert account.api.state(account.channel, comment).comment.text == "How much is it?"
    account.api.hide(account.channel, comment)
    assert account.api.state(account.channel, comment).comment.hidden
    assert account.report()["hidden"] == [comment]


def test_likes(fb: Account, ig: Account) -> None:
    comment = fb.write(fb.post(kind="image"), "Lovely")
    fb.api.like(fb.channel, comment)
    assert fb.report()["liked"] == [comment]
    with pytest.raises(PermanentError):
        ig.api.like(ig.channel, ig.write(ig.post(kind="image"), "Lovely"))


def test_what_is_deleted_is_gone(account: Account) -> None:
    post = account.post(kind="image")
    comment = account.write(post, "How much?")
    account.change("delete", comment)
    for call in (account.api.state, account.api.replies, account.api.hide):
        with pytest.raises(Gone):
            call(account.channel, comment)
    with pytest.raises(Gone):
        account.api.reply(account.channel, comment, "Four euros")
    with pytest.raises(Gone):
        account.api.details(account.channel, "999999")
    with pytest.raises(Gone):
        account.api.page(account.channel, "999999")
    assert account.api.page(account.channel, post) == CommentPage((), count=0)


def test_an_expired_token(account: Account) -> None:
    post = account.post(kind="image")
    account.meta.expire(account.channel.token)
    with pytest.raises(AuthenticationExpired):
        account.api.page(account.channel, post)


@pytest.mark.parametrize(
    ("step", "read"), [("details", "details"), ("comments", "page"), ("comment_state", "state")]
)
def test_faults_of_reads(account: Account, step: str, read: str) -> None:
    post = account.post(kind="image")
    comment = account.write(post, "How much?")
    call, target = getattr(account.api, read), comment if read == "state" else post
    account.meta.fault(step, "server_error")
    first = call(account.channel, target)  # answered when less is asked for
    account.meta.fault(step, "throttled")
    with pytest.raises(Throttled):
        call(account.channel, target)
    account.meta.fault(step, "disconnect_before")
    with pytest.raises(TransientError):
        call(account.channel, target)
    again = call(account.channel, target)
    if read == "details":
        assert first.caption == again.caption
    elif read == "page":
        assert first.comments == again.comments
    else:
        assert first == again


def test_a_reply_whose_answer_is_lost(account: Account) -> None:
    comment = account.write(account.post(kind="image"), "How much?")
    account.meta.fault("reply", "disconnect_after")
    with pytest.raises(UnknownOutcome):
        account.api.reply(account.channel, comment, "Four euros")
    assert [each.text for each in account.api.state(account.channel, comment).replies] == ["Four euros"]
    account.meta.fault("private_reply", "server_error_after")
    with pytest.raises(UnknownOutcome):
        account.api.reply_privately(account.channel, comment, "Four euros")
    with pytest.raises(AlreadyReplied):
        account.api.reply_privately(account.channel, comment, "Four euros")
    assert account.report()["doubled"] == 0


def test_the_allowance(account: Account) -> None:
    post = account.post(kind="image")
    account.api.page(account.channel, post)
    free = account.api.usage(account.channel)
    assert free is not None
    assert (free.percent, free.regain_seconds) == (0, 0)
    account.meta.control(
        "POST",
        "usage",
        json={"account": account.channel.external_id, "calls_per_window": 10, "window_seconds": 3600},
    )
    percents: list[float] = []

    def use_up() -> None:
        while len(percents) < 20:
            account.api.page(account.channel, post)
            usage = account.api.usage(account.channel)
            assert usage is not None
            percents.append(usage.percent)

    with pytest.raises(Throttled) as raised:
        use_up()
    assert percents == sorted(percents)
    assert len(percents) in (9, 10, 11)
    assert raised.value.retry_after is not None
    assert 0 < raised.value.retry_after <= 3600
    # it stops by itself: the platform has refused nothing
    assert percents[-1] <= 100
    assert account.meta.control("GET", "comments/report")["calls"]["throttled"] == 0


def test_many_calls_at_once(account: Account) -> None:
    post = account.post(kind="image")
    comments = [account.write(post, f"comment {number}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: account.api.reply(account.channel, each, "Thanks"), comments))
        states = list(pool.map(lambda each: account.api.state(account.channel, each), comments))
    assert len(set(answers)) == 40
    assert [state.replies[0].id for state in states] == answers
    assert account.report()["doubled"] == 0

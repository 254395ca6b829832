"""The demo's third part: a question below the post is answered, and two people who talk there are left alone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from socialsync_cli.demo import ACCOUNTS
from socialsync_cli.gateway import GatewayClient
from socialsync_cli.sandbox import CommentAnswers, SandboxClient
from socialsync_common.contracts import CommentStatus, Platform
from socialsync_common.errors import SocialSyncError

QUESTION = ("ada.h", "How much is the sourdough loaf?")
TALK = (("marc.d", "@lea on y va samedi ?"), ("lea", "oui carrément, 10h devant ?"))

_EXPECTED = (CommentStatus.ANSWERED, CommentStatus.LEFT, CommentStatus.LEFT)
_UNSETTLED = (None, CommentStatus.NEW, CommentStatus.ANSWERING)
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Commented:
    """A comment and what came of it. ``status``: None where the API does not know it."""

    id: str  # the platform's
    author: str
    text: str
    status: str | None
    detail: str | None  # why, in words


@dataclass(frozen=True, slots=True)
class CommentsPlayed:
    """The question, the two comments of the talk, and all that was answered to anyone."""

    comments: list[Commented]
    answers: CommentAnswers

    @property
    def fault(self) -> str | None:
        """Why this is not one answer to the question, and none to the talk."""
        for comment, expected in zip(self.comments, _EXPECTED, strict=True):
            if comment.status != expected:
                found = comment.status or "not stored"
                why = f" ({comment.detail})" if comment.detail else ""
                return f"the comment of {comment.author} is {found}{why}, and should be {expected}"
        if [comment for comment, _ in self.answers.texts] != [self.comments[0].id]:
            return f"{len(self.answers.texts)} answers are seen on Instagram, and one to the question was due"
        return None


def play(sandbox: SandboxClient, gateway: GatewayClient, media_id: str) -> CommentsPlayed:
    """Three people comment on a post that was published just now; waits until each comment is settled.

    Raises:
        SocialSyncError: the gateway or the sandbox refuses, or the post is not monitored.
    """
    account = gateway.account_id(ACCOUNTS[Platform.INSTAGRAM])
    # by default a person approves each answer
    gateway.ask("PUT", f"/accounts/{account}/comment-policy", json={"review": False})
    post = _watched(gateway, account, media_id)
    opening, reply = TALK
    asked_id = _write(sandbox, media_id, *QUESTION)
    opening_id = _write(sandbox, media_id, *opening)
    reply_id = _write(sandbox, media_id, *reply, parent=opening_id)
    said = {asked_id: QUESTION, opening_id: opening, reply_id: reply}

    def read() -> list[Commented]:
        rows = gateway.ask("GET", "/comments", params={"post": post})["items"]
        known = {row["external_id"]: (row["status"], row["detail"]) for row in rows}
        return [Commented(one, *words, *known.get(one, (None, None))) for one, words in said.items()]

    comments = _poll(read, lambda found: all(comment.status not in _UNSETTLED for comment in found))
    return CommentsPlayed(comments, sandbox.comment_answers())


def _watched(gateway: GatewayClient, account: str, media_id: str) -> str:
    """The post's id in the API. It is seen by people a moment before it is known that they see it."""

    def read() -> str | None:
        wanted = {"account": account, "monitored": True}
        posts = gateway.ask("GET", "/monitored-posts", params=wanted)["items"]
        return next((str(post["id"]) for post in posts if post["external_id"] == media_id), None)

    post = _poll(read, lambda found: found is not None)
    if post is None:
        raise SocialSyncError(f"the post is not monitored {_PATIENCE_SECONDS:.0f} s after it went live")
    return post


def _write(sandbox: SandboxClient, media_id: str, name: str, text: str, parent: str | None = None) -> str:
    """By someone new: who had his answers in an earlier run would be left alone."""
    author = f"17{secrets.randbelow(10**14):014}"
    return sandbox.comment(media_id, author, name, text, parent)


def _poll(read: Callable[[], T], is_done: Callable[[T], bool]) -> T:
    """What is there when it is done, or when patience ends."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_done(found := read()) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return found


def check(played: CommentsPlayed) -> None:
    """Raises SocialSyncError where the question has not exactly one answer, or the talk was not left alone."""
    if played.fault:
        raise SocialSyncError(f"the demo failed: {played.fault}; the logs say more")


def thread(played: CommentsPlayed) -> Panel:
    """Who wrote what, what was answered, and why the others were left alone."""
    said = Table.grid("", "", padding=(0, 2))
    said.columns[0].justify = "right"
    for comment in played.comments:
        said.add_row(Text(comment.author, "bold cyan"), Text(comment.text))
        answers = [text for answered, text in played.answers.texts if answered == comment.id]
        for answer in answers:
            said.add_row(Text("SocialSync", "bold green"), Text(answer))
        if not answers:
            said.add_row("", Text(_outcome(comment), "dim"))
    return Panel(
        Group(said, Text(), Text(_summary(played), "bold red" if played.fault else "dim")),
        title="Instagram · comments on the post",
        title_align="left",
        expand=False,
        padding=(1, 2),
    )


def _outcome(comment: Commented) -> str:
    outcome = "left alone" if comment.status == CommentStatus.LEFT else comment.status or "not stored"
    return f"{outcome}: {comment.detail}" if comment.detail else outcome


def _summary(played: CommentsPlayed) -> str:
    if played.fault:
        return played.fault
    return f"3 comments, one answered after {played.answers.seconds:.2f} s, two left alone"

"""The sandbox's control API: customers write and comment, and what was sent to them is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from socialsync_common.contracts import Platform
from socialsync_common.errors import SocialSyncError

_SLACK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A text that the contact got. ``at``: Unix seconds of its acceptance."""

    seq: int
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Published:
    """A post that people see. ``at``: Unix seconds when it went live."""

    at: float
    text: str
    permalink: str
    media_id: str


@dataclass(frozen=True, slots=True)
class CommentAnswers:
    """What was answered to comments, in public and in private. ``seconds``: the longest that anyone waited for it."""

    texts: list[tuple[str, str]]  # the comment's id, the answer
    seconds: float


class SandboxClient:
    """Raises SocialSyncError when the sandbox is away or refuses."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.Client(base_url=url, timeout=_SLACK_SECONDS, trust_env=False)

    def __enter__(self) -> SandboxClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def connect(
        self, platform: Platform, account: str, token: str, business_account_id: str | None = None
    ) -> None:
        """Tell it which account a token is for, and which WhatsApp Business Account a number belongs to."""
        body = {"platform": platform, "account_id": account, "token": token}
        if business_account_id:
            body["business_account_id"] = business_account_id
        self._ask("POST", "/sandbox/accounts", json=body)

    def say(self, platform: Platform, account: str, contact: str, text: str, name: str | None = None) -> None:
        """A contact writes; returns once the gateway has stored it.

        Raises:
            SocialSyncError: the gateway did not take the message within 20 s.
        """
        body = {
            "platform": platform,
            "account": account,
            "contact": contact,
            "text": text,
            "name": name,
            "retry_seconds": 20,
        }
        answer = self._ask("POST", "/sandbox/users/say", json=body, timeout=30 + _SLACK_SECONDS)
        _must_be_taken("message", answer["deliveries"])

    def sent(self, contact: str, after: int = 0, wait: float = 0) -> list[Sent]:
        """Texts to ``contact`` newer than ``after``; with ``wait``, waits that many seconds for the first."""
        params = {"contact": contact, "after": after, "wait": wait, "kind": "text"}
        answer = self._ask("GET", "/sandbox/sent", params=params, timeout=wait + _SLACK_SECONDS)
        return [Sent(one["seq"], one["at"], one["text"]) for one in answer]

    def published(self, account: str, text: str, wait: float) -> list[Published]:
        """The account's live posts with this text; waits that many seconds for the account's next post."""
        after = int(self._ask("GET", "/sandbox/posts/counts")["last_seq"])
        params: dict[str, str | float] = {"account": account, "after": after, "wait": wait}
        self._ask("GET", "/sandbox/posts", params=params, timeout=wait + _SLACK_SECONDS)
        answer = self._ask("GET", "/sandbox/posts", params={"account": account})
        return [
            Published(one["at"], one["text"], one["permalink"], one["media_id"])
            for one in answer
            if one["text"] == text
        ]

    def comment(self, post: str, author: str, name: str, text: str, parent: str | None = None) -> str:
        """Someone comments on a post, or answers the comment ``parent``; returns the comment's id.

        Raises:
            SocialSyncError: the gateway did not take it.
        """
        body = {"post": post, "author": {"id": author, "name": name}, "text": text}
        if parent is not None:
            body["parent"] = parent
        answer = self._ask("POST", "/sandbox/comments/write", json=body, timeout=30 + _SLACK_SECONDS)
        _must_be_taken("comment", answer["deliveries"])
        return str(answer["comment_id"])

    def comment_answers(self) -> CommentAnswers:
        """To all comments on all posts."""
        report = self._ask("GET", "/sandbox/comments/report")
        texts = [
            (comment, text)
            for answers in (report["replies"], report["private"])
            for comment, said in answers.items()
            for text in said
        ]
        return CommentAnswers(texts, report["answer_seconds"]["max"] or 0.0)

    def last_seq(self) -> int:
        """The newest thing sent to anyone: wait for what comes after it."""
        return int(self._ask("GET", "/sandbox/counts")["last_seq"])

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise SocialSyncError(f"the sandbox at {self._url} is away: {type(error).__name__}") from None
        if not response.is_success:
            raise SocialSyncError(
                f"the sandbox refused {path}: HTTP {response.status_code}: {response.text[:200]}"
            )
        return response.json()


def _must_be_taken(what: str, deliveries: list[dict[str, Any]]) -> None:
    statuses = [delivery["status"] for delivery in deliveries]
    if statuses != [200]:
        raise SocialSyncError(f"the gateway did not take the {what}: HTTP {statuses}")

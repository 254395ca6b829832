"""Faults that were ordered for publishing calls, first in, first out for each step."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from socialsync_sandbox import graph_errors
from socialsync_sandbox.graph_errors import GraphError


class Step(StrEnum):
    CONTAINER = "container"
    STATUS = "status"
    PUBLISH = "publish"
    PERMALINK = "permalink"
    COMMENT = "comment"
    QUOTA = "quota"
    PHOTO = "photo"
    UPLOAD = "upload"
    FIND = "find"
    REFRESH = "refresh"
    EXCHANGE = "exchange"
    SUBSCRIBE = "subscribe"
    PAGES = "pages"
    ME = "me"
    NUMBER = "number"
    DETAILS = "details"
    COMMENTS = "comments"
    COMMENT_STATE = "comment_state"
    REPLY = "reply"
    PRIVATE_REPLY = "private_reply"
    HIDE = "hide"
    LIKE = "like"


class PostingFaultKind(StrEnum):
    # nothing happens, and the caller knows
    NOT_READY = "not_ready"
    FETCH_FAILED = "fetch_failed"
    DUPLICATE = "duplicate"
    TOO_FAST = "too_fast"
    EXPIRED_TOKEN = "expired_token"  # noqa: S105
    THROTTLED = "throttled"
    QUOTA = "quota"
    PERMISSION = "permission"
    SERVER_ERROR = "server_error"
    UNREADABLE = "unreadable"
    DISCONNECT_BEFORE = "disconnect_before"
    # it happens, and the caller learns something else, or late, or nothing
    LIVE_BUT_ERROR = "live_but_error"
    SERVER_ERROR_AFTER = "server_error_after"
    TIMEOUT_AFTER = "timeout_after"
    DISCONNECT_AFTER = "disconnect_after"
    HOLD_AFTER = "hold_after"
    # waits first, then goes on as usual
    SLOW = "slow"
    HOLD_BEFORE = "hold_before"


_REFUSALS: dict[PostingFaultKind, Callable[[], GraphError]] = {
    PostingFaultKind.NOT_READY: lambda: GraphError(400, 9007, "Media ID is not available", subcode=2207027),
    PostingFaultKind.FETCH_FAILED: lambda: fetch_failed(),
    PostingFaultKind.DUPLICATE: lambda: duplicate(),
    PostingFaultKind.TOO_FAST: lambda: GraphError(
        400, 368, "The action attempted has been deemed abusive", subcode=1390008
    ),
    PostingFaultKind.EXPIRED_TOKEN: graph_errors.expired_token,
    PostingFaultKind.THROTTLED: graph_errors.throttled,
    PostingFaultKind.QUOTA: lambda: over_quota(),
    PostingFaultKind.PERMISSION: lambda: GraphError(
        403, 10, "(#10) Application does not have permission for this action"
    ),
    PostingFaultKind.SERVER_ERROR: graph_errors.unknown_error,
    PostingFaultKind.UNREADABLE: lambda: graph_errors.unknown_object("0"),
}


class PostingFault(BaseModel):
    """``seconds``: how long ``timeout_after`` (default 60) and ``slow`` (default 1) wait."""

    model_config = ConfigDict(extra="forbid")

    step: Step
    kind: PostingFaultKind
    times: int = Field(default=1, ge=1)
    account: str | None = None
    seconds: float | None = Field(default=None, ge=0, le=3600)

    def refusal(self) -> GraphError | None:
        make = _REFUSALS.get(self.kind)
        return make() if make else None


class PostingFaults:
    def __init__(self) -> None:
        self.queue: list[PostingFault] = []

    def add(self, fault: PostingFault) -> None:
        self.queue.append(fault)

    def clear(self) -> None:
        self.queue.clear()

    def take(self, step: Step, account: str | None) -> PostingFault | None:
        """The first fault that matches, used up once."""
        for place, fault in enumerate(self.queue):
            if fault.step is step and fault.account in (None, account):
                if fault.times == 1:
                    return self.queue.pop(place)
                fault.times -= 1
                return fault
        return None


def fetch_failed() -> GraphError:
    return GraphError(400, 9004, "Only photo or video can be accepted as media type.", subcode=2207052)


def duplicate() -> GraphError:
    return GraphError(400, 506, "Duplicate status message", subcode=1455006)


def over_quota() -> GraphError:
    return GraphError(403, 9, "Application request limit reached", subcode=2207042)


def live_but_error() -> GraphError:
    return GraphError(400, 4, "Application request limit reached", subcode=2207051)

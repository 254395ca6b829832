"""Faults that were ordered for the next texts, first in, first out."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors
from socialsync_sandbox.graph_errors import GraphError


class FaultKind(StrEnum):
    # nothing is accepted, and the caller knows
    RATE = "rate"
    THROTTLED = "throttled"
    PAIR_RATE = "pair_rate"
    WINDOW = "window"
    EXPIRED_TOKEN = "expired_token"  # noqa: S105
    SERVER_ERROR = "server_error"
    DISCONNECT_BEFORE_ACCEPT = "disconnect_before_accept"
    # accepted, but the caller learns it late or never
    SERVER_ERROR_AFTER_ACCEPT = "server_error_after_accept"
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    DISCONNECT_AFTER_ACCEPT = "disconnect_after_accept"
    HOLD = "hold"
    # waits first, then goes on as usual
    SLOW = "slow"
    HOLD_BEFORE_ACCEPT = "hold_before_accept"


class Fault(BaseModel):
    """``seconds``: how long ``timeout_after_accept`` (default 60) and ``slow`` (default 1) wait."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    times: int = Field(default=1, ge=1)
    contact: str | None = None
    account: str | None = None
    seconds: float | None = Field(default=None, ge=0, le=3600)

    def matches(self, account: str, contact: str) -> bool:
        return self.account in (None, account) and self.contact in (None, contact)


class Faults:
    def __init__(self) -> None:
        self.queue: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.queue.append(fault)

    def clear(self) -> None:
        self.queue.clear()

    def take(self, account: str, contact: str) -> Fault | None:
        """The first fault that matches, used up once."""
        for place, fault in enumerate(self.queue):
            if fault.matches(account, contact):
                if fault.times == 1:
                    return self.queue.pop(place)
                fault.times -= 1
                return fault
        return None


def refusal(kind: FaultKind, platform: Platform) -> GraphError | None:
    """The error that a refused text is answered with; none where the fault is of another sort."""
    match kind:
        case FaultKind.RATE:
            return graph_errors.rate()
        case FaultKind.THROTTLED:
            return graph_errors.throttled()
        case FaultKind.PAIR_RATE:
            return graph_errors.pair_rate()
        case FaultKind.WINDOW:
            return graph_errors.window(whatsapp=platform is Platform.WHATSAPP)
        case FaultKind.EXPIRED_TOKEN:
            return graph_errors.expired_token()
        case FaultKind.SERVER_ERROR:
            return graph_errors.server_error()
        case _:
            return None

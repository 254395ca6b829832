"""Errors in the shape, and with the codes, of the Graph API."""

from __future__ import annotations

from typing import Any

from socialsync_sandbox.ids import trace_id


class GraphError(Exception):
    """An error answer: HTTP ``status`` and the members of Graph's ``error`` object."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        *,
        subcode: int | None = None,
        details: str | None = None,
        kind: str = "OAuthException",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.subcode = subcode
        self.details = details
        self.kind = kind

    @property
    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"message": self.message, "type": self.kind, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.details is not None:
            error["error_data"] = {"messaging_product": "whatsapp", "details": self.details}
        error["fbtrace_id"] = trace_id()
        return {"error": error}


def no_token() -> GraphError:
    return GraphError(401, 190, "An access token is required to request this resource.")


def expired_token() -> GraphError:
    return GraphError(
        401, 190, "Error validating access token: Session has expired. Log in again.", subcode=463
    )


def unknown_token() -> GraphError:
    return GraphError(400, 190, "Invalid OAuth access token - Cannot parse access token")


def bad_parameter(what: str, *, whatsapp: bool = False) -> GraphError:
    if whatsapp:
        return GraphError(400, 100, "(#100) Invalid parameter", details=what)
    return GraphError(400, 100, f"(#100) {what}")


def unknown_object(object_id: str, status: int = 400) -> GraphError:
    return GraphError(
        status,
        100,
        f"Unsupported get request. Object with ID '{object_id}' does not exist, cannot be loaded due to "
        "missing permissions, or does not support this operation",
        subcode=33,
        kind="GraphMethodException",
    )


def unknown_path(path: str) -> GraphError:
    return GraphError(400, 2500, f"Unknown path components: {path}")


def rate() -> GraphError:
    return GraphError(
        429,
        130429,
        "(#130429) Rate limit hit",
        details="Message failed to send because there were too many messages sent from this phone number "
        "in a short period of time.",
    )


def throttled() -> GraphError:
    return GraphError(400, 4, "(#4) Application request limit reached")


def used_up(*, instagram: bool) -> GraphError:
    """Of the calls that an account's posts and comments are allowed."""
    code, kind = (80002, "Instagram") if instagram else (80001, "Page")
    return GraphError(
        400,
        code,
        f"(#{code}) There have been too many calls to this {kind} account. Wait a bit and try again.",
    )


def already_replied() -> GraphError:
    return GraphError(400, 10900, "(#10900) Activity already replied to")


def pair_rate() -> GraphError:
    return GraphError(
        400,
        131056,
        "(#131056) (Business Account, Consumer Account) pair rate limit hit",
        details="Message failed to send because there were too many messages sent from this phone number "
        "to the same phone number in a short period of time.",
    )


def window(*, whatsapp: bool) -> GraphError:
    if not whatsapp:
        message = "(#10) This message is sent outside of allowed window."
        return GraphError(400, 10, message, subcode=2534022)
    return GraphError(
        400,
        131047,
        "(#131047) Re-engagement message",
        details="Message failed to send because more than 24 hours have passed since the customer last "
        "replied to this number.",
    )


def unknown_error() -> GraphError:
    return GraphError(500, 1, "An unknown error occurred")


def server_error() -> GraphError:
    return GraphError(500, 2, "Service temporarily unavailable. Try again later.")

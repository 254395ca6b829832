"""What became of the comments, for tests and benches. Pure."""

from __future__ import annotations

from typing import Any

from socialsync_sandbox.comments.state import Comments
from socialsync_sandbox.publishing.faults import Step

_CALLS = {
    "details": Step.DETAILS,
    "page": Step.COMMENTS,
    "state": Step.COMMENT_STATE,
    "reply": Step.REPLY,
    "private_reply": Step.PRIVATE_REPLY,
    "hide": Step.HIDE,
    "like": Step.LIKE,
}


def report(comments: Comments) -> dict[str, Any]:
    """``comments``: by others than the account; ``answer_seconds``: from written to the app's first answer."""
    tally = comments.tally
    return {
        "comments": comments.written,
        "replies": tally.public,
        "private": tally.private,
        "hidden": list(tally.hidden),
        "liked": list(tally.liked),
        "doubled": len(tally.doubled),
        "calls": {
            **{name: tally.calls[step] for name, step in _CALLS.items()},
            "throttled": tally.throttled,
        },
        "peak_usage_percent": comments.usages.peak_percent,
        "answer_seconds": _spread(tally.answer_seconds),
    }


def brief(full: dict[str, Any]) -> dict[str, Any]:
    """The same with counts in place of what was said and of what is hidden or liked."""
    said = {name: sum(map(len, full[name].values())) for name in ("replies", "private")}
    return full | said | {name: len(full[name]) for name in ("hidden", "liked")}


def _spread(seconds: list[float]) -> dict[str, float | None]:
    ordered = sorted(seconds)

    def at(share: float) -> float | None:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    return {"p50": at(0.5), "p99": at(0.99), "max": at(1.0), "n": len(ordered)}

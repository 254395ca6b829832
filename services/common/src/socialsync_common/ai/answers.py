"""What of a model's answer may leave: the request for a person is taken out, the unfit is refused or cleaned."""

from __future__ import annotations

import re

from socialsync_common.ai.prompt import DOCUMENTS_BOUNDARY, INSTRUCTIONS_BOUNDARY, RULES_HEADING
from socialsync_common.errors import TransientError

REPLY_CHARACTERS = 8_000
_AGAIN_SECONDS = 2.0
_NO_REASON = "the assistant asks for a person"

# as models really write it: without a reason, without the last bracket
_HANDOFF = re.compile(r"\[\[\s*person\b\s*:?[ \t]*([^\]\n]{0,300})\]{0,2}", re.IGNORECASE)
# reasoning models put their thoughts before the answer; a server may have cut the opening tag off
_THOUGHTS = re.compile(r"\A(?:\s*<think>)?(?:(?!<think>).)*?</think>", re.DOTALL | re.IGNORECASE)
_UNFINISHED_THOUGHTS = re.compile(r"\A\s*<think>", re.IGNORECASE)
# controls but tab and line feed, direction overrides, the byte order mark, halves of surrogate pairs
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MARKERS = (INSTRUCTIONS_BOUNDARY, DOCUMENTS_BOUNDARY, RULES_HEADING)


def cleaned(answer: str) -> tuple[str, str | None]:
    """The text that may leave, and the reason for a person where the model gave one.

    The text is empty only where there is a reason. Raises TransientError for an empty answer, and for one that
    repeats the system prompt: another attempt may do better.
    """
    text = _THOUGHTS.sub("", answer)
    if _UNFINISHED_THOUGHTS.match(text):
        text = ""
    text = _UNFIT.sub("", text.replace("\r\n", "\n"))
    folded = " ".join(text.lower().split())
    if any(marker.lower() in folded for marker in _MARKERS):
        raise TransientError(
            "the model repeated its instructions; its answer was not used", retry_after=_AGAIN_SECONDS
        )
    match = _HANDOFF.search(text)
    reason = (match[1].strip()[:200] or _NO_REASON) if match else None
    text = _HANDOFF.sub("", text).strip()
    if len(text) > REPLY_CHARACTERS:
        text = text[: REPLY_CHARACTERS - 1].rstrip() + "…"
    if not text and reason is None:
        raise TransientError("the model gave an empty answer", retry_after=_AGAIN_SECONDS)
    return text, reason

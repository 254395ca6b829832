"""What of a model's answer may leave: the request for a person is taken out, the unfit is refused or cleaned."""

from __future__ import annotations

import re

from socialsync_common.ai.prompt import DOCUMENTS_BOUNDARY, INSTRUCTIONS_BOUNDARY, RULES_HEADING
from socialsync_common.errors import TransientError

REPLY_CHARACTERS = 8_000
COMMENT_CHARACTERS = 1_000
_AGAIN_SECONDS = 2.0
_NO_REASON = "the assistant asks for a person"

# as models really write it: without a reason, without the last bracket
_HANDOFF = re.compile(r"\[\[\s*person\b\s*:?[ \t]*([^\]\n]{0,300})\]{0,2}", re.IGNORECASE)
_NOTHING = re.compile(r"\[\[\s*nothing\b[^\]\n]{0,100}\]{0,2}", re.IGNORECASE)
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
    text = _spoken(answer)
    folded = " ".join(text.lower().split())
    if any(marker.lower() in folded for marker in _MARKERS):
        raise TransientError(
            "the model repeated its instructions; its answer was not used", retry_after=_AGAIN_SECONDS
        )
    text, reason = _without_handoff(text)
    text = _cut(text, REPLY_CHARACTERS)
    if not text and reason is None:
        raise TransientError("the model gave an empty answer", retry_after=_AGAIN_SECONDS)
    return text, reason


def cleaned_comment(answer: str) -> tuple[str, str | None, bool]:
    """The text, the reason for a person where the model gave one, and whether it found nothing to say.

    Only one of the three: a person is stronger than nothing, nothing than a text. Raises TransientError for an empty
    answer. A text that repeats the prompt is no error here: the guard refuses it.
    """
    text, reason = _without_handoff(_spoken(answer))
    if reason is not None:
        return "", reason, False
    if _NOTHING.search(text):
        return "", None, True
    if not text:
        raise TransientError("the model gave an empty answer", retry_after=_AGAIN_SECONDS)
    return _cut(text, COMMENT_CHARACTERS), None, False


def _spoken(answer: str) -> str:
    """Without thoughts, and characters that no answer needs."""
    text = _THOUGHTS.sub("", answer)
    if _UNFINISHED_THOUGHTS.match(text):
        return ""
    return _UNFIT.sub("", text.replace("\r\n", "\n"))


def _without_handoff(text: str) -> tuple[str, str | None]:
    match = _HANDOFF.search(text)
    reason = (match[1].strip()[:200] or _NO_REASON) if match else None
    return _HANDOFF.sub("", text).strip(), reason


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"

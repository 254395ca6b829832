"""What each platform takes, and how a longer text is split for it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import timedelta

from socialsync_common.contracts import Platform

MESSAGING_WINDOW = timedelta(hours=24)
MAX_PARTS = 10
_ELLIPSIS = "…"
# from the best border to the last resort; the border stays with the part before it
_BORDERS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"[.!?…:;]+\s+"), re.compile(r"\s+"))
_JOINERS = frozenset("\u200d\ufe0e\ufe0f\u20e3")


def _characters(text: str) -> int:
    return len(text)


def _bytes(text: str) -> int:
    return len(text.encode())


# WhatsApp and Messenger count characters, Instagram bytes of UTF-8
_LIMITS: dict[Platform, tuple[int, Callable[[str], int]]] = {
    Platform.WHATSAPP: (4096, _characters),
    Platform.INSTAGRAM: (1000, _bytes),
    Platform.MESSENGER: (2000, _characters),
}


def split_text(platform: Platform, text: str) -> list[str]:
    """The parts of ``text``, in order, each within the platform's limit and none empty.

    Splits between paragraphs, lines, sentences or words where it can, and never inside an emoji or an accented
    letter where that fits at all. After ``MAX_PARTS`` parts the rest is cut, and an ellipsis says so.
    """
    limit, size = _LIMITS[platform]
    parts: list[str] = []
    rest = text.strip()
    while rest:
        if len(parts) == MAX_PARTS - 1 and size(rest) > limit:
            end = _fitting(rest, limit - size(_ELLIPSIS), size)
            parts.append(rest[:end].rstrip() + _ELLIPSIS)
            break
        end = len(rest) if size(rest) <= limit else _border(rest, _fitting(rest, limit, size))
        parts.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return parts


def _fitting(text: str, limit: int, size: Callable[[str], int]) -> int:
    """The length of the longest beginning of ``text`` within ``limit``; at least one character."""
    low, high = 1, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if size(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def _border(text: str, most: int) -> int:
    """Where to end a part of at most ``most`` characters; a border in its first third would waste the part."""
    for border in _BORDERS:
        ends = [match.end() for match in border.finditer(text, most // 3, most)]
        if ends:
            return ends[-1]
    end = most
    while end > most // 3 and _joined(text, end):
        end -= 1
    return end if end > most // 3 else most


def _joined(text: str, at: int) -> bool:
    """Whether the characters around ``at`` belong to one visible sign."""
    after, before = text[at], text[at - 1]
    return (
        unicodedata.combining(after) > 0
        or after in _JOINERS
        or before == "\u200d"
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or ("\U0001f1e6" <= after <= "\U0001f1ff" and "\U0001f1e6" <= before <= "\U0001f1ff")  # flags
    )

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
# from the best border to the last resort: paragraph, line, sentence, word
_BORDERS = tuple(
    re.compile(pattern) for pattern in (r"\n\s*\n", r"\n", r"(?<=[.!?…])\s+|(?<=[。！？])", r"\s+")
)
_JOINER = "\u200d"
_SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")
_TAGS = ("\U000e0020", "\U000e007f")
_FLAG_LETTERS = ("\U0001f1e6", "\U0001f1ff")


def _characters(text: str) -> int:
    return len(text)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


# WhatsApp and Messenger count characters, Instagram bytes of UTF-8
_LIMITS: dict[Platform, tuple[int, Callable[[str], int]]] = {
    Platform.WHATSAPP: (4096, _characters),
    Platform.INSTAGRAM: (1000, _bytes),
    Platform.MESSENGER: (2000, _characters),
}


def split_text(platform: Platform, text: str) -> list[str]:
    """The parts of ``text``, in order, each within the platform's limit and none empty.

    Splits between paragraphs, lines, sentences or words where it can, and never inside an emoji or an accented
    letter, except where one sign alone is beyond the limit. What goes beyond ``MAX_PARTS`` parts is cut, and an
    ellipsis says so. A text of spaces alone has no parts.
    """
    limit, size = _LIMITS[platform]
    parts: list[str] = []
    rest = text.strip()
    while rest:
        if size(rest) <= limit:
            parts.append(rest)
            break
        last = len(parts) == MAX_PARTS - 1
        end = _border(rest, _fitting(rest, limit - size(_ELLIPSIS) if last else limit, size))
        part = rest[:end].rstrip()
        if last:
            parts.append(part + _ELLIPSIS)
            break
        parts.append(part)
        rest = rest[end:].lstrip()
    return parts


def _fitting(text: str, limit: int, size: Callable[[str], int]) -> int:
    """How many characters of ``text`` are within ``limit``."""
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
    least = most // 3
    for border in _BORDERS:
        # one character more: the space after a word that just fits is a border
        ends = [match.end() for match in border.finditer(text, least, most + 1)]
        ends = [end for end in ends if (end <= most or text[most].isspace()) and not _joined(text, end)]
        if ends:
            return ends[-1]
    end = most
    while end > 1 and _joined(text, end):
        end -= 1
    return most if _joined(text, end) else end


def _joined(text: str, at: int) -> bool:
    """Whether the characters around ``at`` belong to one visible sign."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    return (
        unicodedata.category(after).startswith("M")  # accents, vowel signs, variation selectors, keycaps
        or _JOINER in (before, after)
        or _SKIN_TONES[0] <= after <= _SKIN_TONES[1]
        or _TAGS[0] <= after <= _TAGS[1]
        or (_is_flag_letter(after) and _flag_letters_before(text, at) % 2 == 1)
    )


def _flag_letters_before(text: str, at: int) -> int:
    start = at
    while start > 0 and _is_flag_letter(text[start - 1]):
        start -= 1
    return at - start


def _is_flag_letter(char: str) -> bool:
    return _FLAG_LETTERS[0] <= char <= _FLAG_LETTERS[1]

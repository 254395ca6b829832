"""Reading a comment: what it shows, whom and what it links to, and its words in one spelling.

All is linear in the text, of which only the start is read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

READ_CHARACTERS = 4000

Word = tuple[str, ...]
"""The forms a word may have: more than one where letters are drawn out, as in "sooo coool"."""

_LOOKALIKES = str.maketrans(
    "авеёзкмнорстухсіїјѕԁԛԝһӏαβεικνορτυχω’‘`´ʼ′ŒœÆæßøłıđ",
    "abeeskmhopctyxciijsdqwhlabeiknoptuxw''''''" + "ooaasolid",
) | {ord("œ"): "oe", ord("æ"): "ae", ord("ß"): "ss"}
_MONEY = str.maketrans({"€": " euros ", "£": " pounds ", "$": " dollars ", "%": " percent "})
_DIGITS_AS_LETTERS = str.maketrans("013457@$!|", "oieastasil")
_BLANKS = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f")
_OVERRIDES = frozenset("\u202d\u202e\u2066\u2067\u2068")

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{2,63}")
_MENTION = re.compile(r"(?<![\w.])@(\w(?:[\w.]{0,58}\w)?)")
_HOUR = re.compile(r"\d+(?:am|pm|h\d*|)")
_HASHTAG = re.compile(r"#(?!\d+\b)(\w{1,100})")
_LINK = re.compile(
    r"https?://\S{1,500}|\bwww\.\S{1,500}"
    r"|(?<![\w.-])(?:[\w-]{1,63}\.){1,5}(?:com|net|org|io|co|fr|ly|gg|info|biz|xyz|shop|store|online|site|app|link"
    r"|click|top|ru|uk|eu|be|ch|de|tv|club|live|vip|pro)\b(?:/\S{0,300})?",
    re.IGNORECASE,
)
_EMOTICON = re.compile(r"(?<!\w)(?:<+3+|[:;=xX]['-]?[dDpPoO3sS]+|\^_*\^)(?!\w)")
_TOKEN = re.compile(r"[0-9]+|[a-z][a-z0-9]*")
_DRAWN_OUT = re.compile(r"(.)\1{2,}")
_SPELLED_OUT = re.compile(r"\b(?:[a-z][ .*_-]){3,60}[a-z]\b")
_MAX_WORD = 40


@dataclass(frozen=True, slots=True)
class Reading:
    """One comment, read."""

    shown: str
    """As a person sees it: without invisible characters."""
    bare: str
    """Without mentions, hashtags, links and addresses."""
    mentions: tuple[str, ...]
    hashtags: tuple[str, ...]
    links: int
    words: tuple[Word, ...]
    """Of the bare text."""
    signs: frozenset[str]
    """Characters that are no letters, digits or spaces: punctuation and emoji."""
    foreign: bool
    """Letters of a script that the rules do not know."""

    @property
    def all_words(self) -> tuple[Word, ...]:
        return (*self.words, *((tag,) for tag in self.hashtags))

    @property
    def asks(self) -> bool:
        return not self.signs.isdisjoint("?？❓❔⁉؟")


def read(text: str, spelling: Mapping[str, tuple[str, ...]]) -> Reading:
    """The comment's parts; ``spelling`` gives the usual words for short or wrong ones."""
    shown = show(text)
    bare = _EMAIL.sub(" ", shown)
    mentions = tuple(name.lower() for name in _MENTION.findall(bare) if not _HOUR.fullmatch(name.lower()))
    bare = _MENTION.sub(" ", bare)
    links = len(_LINK.findall(bare))
    bare = _LINK.sub(" ", bare)
    hashtags = tuple(plain(tag) for tag in _HASHTAG.findall(bare))
    bare = " ".join(_EMOTICON.sub(" ☺ ", _HASHTAG.sub(" ", bare)).split())
    folded = plain(bare)
    return Reading(
        shown,
        bare,
        mentions,
        hashtags,
        links,
        words_of(bare, spelling),
        frozenset(char for char in bare if not char.isalnum() and not char.isspace()),
        any(char.isalpha() and not char.isascii() for char in folded),
    )


def show(text: str) -> str:
    """The start of the text, as a person sees it."""
    seen = "".join(char for char in text[:READ_CHARACTERS] if not _is_invisible(char))
    return unicodedata.normalize("NFKC", seen)[:READ_CHARACTERS].strip()


def disguises(text: str, spelling: Mapping[str, tuple[str, ...]]) -> tuple[tuple[Word, ...], ...]:
    """Word by word what a text may be meant to say: as it stands, digits read as letters, s p e l l e d out, reversed."""
    shown = show(text)
    folded = plain(shown)
    meant = [shown, _SPELLED_OUT.sub(lambda found: re.sub(r"[^a-z]", "", found[0]), folded)]
    meant.append(folded.translate(_DIGITS_AS_LETTERS))
    if not _OVERRIDES.isdisjoint(text[:READ_CHARACTERS]):
        meant.append(shown[::-1])
    return tuple(words_of(one, spelling) for one in dict.fromkeys(meant))


def compact(text: str) -> str:
    """Only the letters, digits read as letters."""
    return re.sub(r"[^a-z]", "", plain(show(text)).translate(_DIGITS_AS_LETTERS))


def plain(text: str) -> str:
    """Lower case, without accents, lookalikes of Latin letters as these, "don't" as "dont"."""
    lower = text.lower().translate(_LOOKALIKES).translate(_MONEY)
    bare = "".join(char for char in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(char))
    return bare.replace("n't", "nt")


def words_of(text: str, spelling: Mapping[str, tuple[str, ...]]) -> tuple[Word, ...]:
    found: list[Word] = []
    for token in _TOKEN.findall(plain(text)):
        forms = _forms(token[:_MAX_WORD])
        usual = next((spelling[form] for form in forms if form in spelling), None)
        found += [forms] if usual is None else [(word,) for word in usual]
    return tuple(found)


def _forms(token: str) -> Word:
    if not _DRAWN_OUT.search(token) or token.isdigit():
        return (token,)
    single, double = _DRAWN_OUT.sub(r"\1", token), _DRAWN_OUT.sub(r"\1\1", token)
    return tuple(dict.fromkeys((single, double, double.rstrip(double[-1]) + double[-1])))


def _is_invisible(char: str) -> bool:
    if char in _BLANKS or "\ufe00" <= char <= "\ufe0f":
        return True
    return unicodedata.category(char) in ("Cf", "Cc", "Cs", "Co", "Cn") and not char.isspace()

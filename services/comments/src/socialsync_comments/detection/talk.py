"""Whom a comment speaks to: us, a friend, or the others of its thread."""

from __future__ import annotations

import re
from enum import StrEnum

from socialsync_comments.detection.rules import Rules
from socialsync_comments.detection.text import Reading, plain
from socialsync_comments.detection.verdicts import Heard

_CAPITALISED = re.compile(
    r"@?([A-ZÀ-ÖØ-Þ][\w'’-]{1,30}) ([A-ZÀ-ÖØ-Þ][\w'’-]{1,30})[ ,:!]{1,2}(.*)", re.DOTALL
)


class Partner(StrEnum):
    """Whom the thread makes the comment's author talk to."""

    NOBODY = "nobody"
    """A comment of its own, or a thread of the author's alone: it is for us if for anyone."""
    US = "us"
    GUEST = "guest"
    """We answered last, but somebody else than the author."""
    OTHERS = "others"


def partner(heard: Heard) -> Partner:
    if not heard.is_reply:
        return Partner.NOBODY
    last = next((said.who for said in reversed(heard.thread) if said.who != "author"), None)
    if last is None:
        # A reply whose thread is not known stands under somebody else's comment.
        return Partner.NOBODY if heard.thread else Partner.OTHERS
    if last == "other":
        return Partner.OTHERS
    theirs = heard.thread[0].who == "us" or any(said.who == "author" for said in heard.thread)
    return Partner.US if theirs else Partner.GUEST


def names_us(heard: Heard, reading: Reading) -> bool:
    """Whether the comment mentions or names the business."""
    own = {name.lstrip("@") for name in heard.own_names}
    if not own.isdisjoint(reading.mentions):
        return True
    said = f" {_spaced(reading.bare)} "
    return any(f" {name} " in said for name in map(_spaced, own) if len(name) > 3)


def friend(heard: Heard, reading: Reading, rules: Rules) -> str | None:
    """The name of another user whom the comment mentions; None where there is none."""
    own = {name.lstrip("@") for name in heard.own_names} | {(heard.author_name or "").lower()}
    for name in reading.mentions:
        if name not in own and not rules.lists["people.nobody"].covers(((plain(name),),)):
            return f"@{name}"
    return _tagged(heard, reading, rules)


def _tagged(heard: Heard, reading: Reading, rules: Rules) -> str | None:
    # Facebook shows a tagged person's name without its @: "Ann Smith we should go".
    found = _CAPITALISED.match(reading.bare)
    if not found:
        return None
    first, last, rest = found.groups()
    words = rules.read(f"{first} {last}").words
    known = rules.lists["people.no_name"]
    ours = any(plain(first) in _spaced(name) or plain(last) in _spaced(name) for name in heard.own_names)
    if ours or not words or any(known.starts((word,)) for word in words):
        return None
    return f"{first} {last}" if rules.lists["people.friend"].starts(rules.read(rest).words) else None


def _spaced(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", plain(text)))

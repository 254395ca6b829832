"""What a business wants to happen with its comments: one policy for each account, and its rules for detection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from socialsync_common.contracts import CommentReason
from socialsync_common.db import Row

MAX_PHRASES = 200
MAX_PHRASE_CHARACTERS = 80
_LATIN = 0x2100  # signs beyond here are emoji or letters

LISTS = ("complaint", "sensitive", "spam", "chatter", "asks_person")
"""Lists of the rules that a business may add to, or take from."""
WORDS = ("leave", "answer")
"""Words of the business's own: such comments are left alone, or are a question to it."""
SWITCHES = (
    CommentReason.MENTIONS_OTHER,
    CommentReason.BETWEEN_USERS,
    CommentReason.EMOJI_ONLY,
    CommentReason.TAGS_ONLY,
    CommentReason.CHATTER,
    CommentReason.SPAM,
    CommentReason.COMPLAINT,
    CommentReason.ASKS_PERSON,
)
"""Rules that may be turned off. Sensitive topics and commands to the model always go to a person."""


@dataclass(frozen=True, slots=True)
class CommentPolicy:
    """The defaults are safe: only posts of ours, in public, and a person approves each answer."""

    enabled: bool = True
    review: bool = True
    reply: Literal["public", "private", "both"] = "public"
    praise: Literal["answer", "like", "leave"] = "answer"
    spam: Literal["leave", "hide"] = "leave"
    watch: Literal["published", "all"] = "published"
    within_hours: int = 24
    account_per_hour: int = 60
    post_per_hour: int = 30
    author_per_hour: int = 5
    rules: dict[str, Any] = field(default_factory=dict)


_COLUMNS = tuple(each.name for each in fields(CommentPolicy))

POLICY = f"SELECT {', '.join(_COLUMNS)} FROM comment_policies WHERE account_id = %s"  # noqa: S608
"""For ``policy_of``."""
# With `policy_values`.
SAVE_POLICY = f"""
INSERT INTO comment_policies (account_id, tenant_id, {", ".join(_COLUMNS)})
VALUES (%(account_id)s, %(tenant_id)s, {", ".join(f"%({name})s" for name in _COLUMNS)})
ON CONFLICT (account_id) DO UPDATE SET {", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS)}, updated_at = now()
"""  # noqa: S608


def policy_of(row: Row | None) -> CommentPolicy:
    """The policy of a row of ``POLICY``; the defaults where none is stored."""
    return CommentPolicy(**row) if row else CommentPolicy()


def policy_values(tenant: UUID, account: UUID, policy: CommentPolicy) -> dict[str, Any]:
    """Parameters of ``SAVE_POLICY``."""
    return {"account_id": account, "tenant_id": tenant, **asdict(policy), "rules": Jsonb(policy.rules)}


def faults_of_rules(rules: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(JSON pointer, what is wrong) for each fault of a policy's ``rules``::

    {"off": ["emoji_only"], "complaint": {"add": ["late order"], "remove": ["cold"]}, "leave": ["giveaway"]}
    """
    phrases = 0
    for key, value in rules.items():
        if key == "off":
            yield from _faults_of_switches(value)
        elif key in WORDS:
            yield from _faults_of_phrases(f"/{key}", value)
            phrases += _count(value)
        elif key in LISTS:
            if not isinstance(value, dict) or set(value) - {"add", "remove"}:
                yield f"/{key}", 'is not an object with "add" and "remove"'
                continue
            for change, words in value.items():
                yield from _faults_of_phrases(f"/{key}/{change}", words)
                phrases += _count(words)
        else:
            token = key.replace("~", "~0").replace("/", "~1")
            yield f"/{token}", f"is no rule: choose among off, {', '.join((*WORDS, *LISTS))}"
    if phrases > MAX_PHRASES:
        yield "", f"has {phrases} phrases: at most {MAX_PHRASES}"


def _faults_of_switches(value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield "/off", "is not a list"
        return
    for place, name in enumerate(value):
        if name not in SWITCHES:
            yield f"/off/{place}", f"cannot be turned off: choose among {', '.join(SWITCHES)}"


def _faults_of_phrases(pointer: str, value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield pointer, "is not a list"
        return
    for place, phrase in enumerate(value):
        fits = isinstance(phrase, str) and phrase.strip() and phrase.isprintable()
        if not fits or len(phrase) > MAX_PHRASE_CHARACTERS:
            yield f"{pointer}/{place}", f"is not a text of 1 to {MAX_PHRASE_CHARACTERS} characters"
        elif not all(_is_word(part) for word in phrase.split() for part in word.split("|") if word != "..."):
            yield f"{pointer}/{place}", "has a word without a letter, a digit or an emoji, or with a brace"


def _is_word(text: str) -> bool:
    """What the rules can look for."""
    says_something = any(char.isalnum() or ord(char) > _LATIN for char in text)
    return says_something and not set(text) & {"{", "}"}


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0

"""What a comment is known by. Each function gives what it found, in words; None where there is nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from socialsync_comments.detection import talk
from socialsync_comments.detection.phrases import Vocabulary
from socialsync_comments.detection.rules import Rules
from socialsync_comments.detection.talk import Partner
from socialsync_comments.detection.text import Reading, Word, compact, disguises
from socialsync_comments.detection.verdicts import Heard
from socialsync_common.ai.intent import wants_person
from socialsync_common.contracts import CommentReason

_SHORT_WORDS = 8
_TELLING_WORDS = 4
_CLOSING_WORDS = 14
_DELIMITERS = re.compile(
    r"<\||\|>|\[/?inst\b|</?(?:system|user|assistant|instructions?|prompt|rules|context|admin)\b"
    r"|(?:<<+|\[\[+|\{\{+|###+|===+|---+)\s{0,3}/?(?:end|start|begin|new|business|system|instruction|prompt|assistant|admin|rules|person"
    r"|user|context|knowledge|thread|comment|developer|override|consigne|fin|d[ée]but|nouvelle|r[èe]gle|syst[èe]me|personne)"
    r"|^\s{0,3}(?:system|assistant|developer|syst[èe]me)\s{0,2}:",
    re.IGNORECASE | re.MULTILINE,
)
_CAPITALS = re.compile(r"\b[A-ZÀ-Þ]{2,20}\b")
_FROM_FRIENDS = frozenset(["you", "your", "yours", "vous", "votre", "vos"])


@dataclass(frozen=True)
class Case:
    """A comment with all that the rules look at."""

    heard: Heard
    rules: Rules

    @cached_property
    def reading(self) -> Reading:
        return self.rules.read(self.heard.text)

    @cached_property
    def partner(self) -> Partner:
        return Partner.NOBODY if self.names_us else talk.partner(self.heard)

    @cached_property
    def names_us(self) -> bool:
        return talk.names_us(self.heard, self.reading)

    @cached_property
    def asks(self) -> bool:
        """Whether it is a question."""
        if self.reading.asks:
            return True
        words = self._after_greeting()
        if self.praises and self.list("question.exclaims").starts(words):
            return False
        return (
            self.list("question.starts").starts(words)
            or self.list("question.anywhere").span(words) is not None
            or (bool(words) and self.list("question.alone").covers(words))
        )

    @cached_property
    def praises(self) -> bool:
        return self.list("praise.alone").span(self.reading.words) is not None

    def list(self, name: str) -> Vocabulary:
        return self.rules.lists[name]

    def find(self, name: str) -> str | None:
        return self.list(name).find(self.reading)

    def _after_greeting(self) -> tuple[Word, ...]:
        words = self.reading.words
        while words and (end := self.list("question.greetings").end(words)):
            words = words[end:]
        return words


def no_text(case: Case) -> str | None:
    reading = case.reading
    if reading.mentions or reading.hashtags or reading.links or any(map(str.isalnum, reading.bare)):
        return None
    if any(not char.isascii() and char not in "…‥·•。、！¡¿«»“”‘’–—" for char in reading.signs):
        return None
    if reading.asks and case.heard.thread:
        return None
    return "has no text"


def emoji_only(case: Case) -> str | None:
    reading = case.reading
    said = reading.mentions or reading.hashtags or reading.links or any(map(str.isalnum, reading.bare))
    return None if said or "?" in reading.signs else "only emoji"


def tags_only(case: Case) -> str | None:
    reading = case.reading
    tags = reading.mentions or reading.hashtags
    if not tags or reading.links or "?" in reading.signs or any(map(str.isalnum, reading.bare)):
        return None
    return "only tags"


def commands(case: Case) -> str | None:
    """An attempt to command a model, also where it is disguised."""
    text = case.heard.text
    if found := _DELIMITERS.search(case.reading.shown):
        return f'tries to command the assistant: "{found[0].strip()}"'
    listed = case.list("commands.alone")
    letters = compact(text)
    found_words = next(
        filter(None, (listed.find_in(words) for words in disguises(text, case.rules.spelling))), None
    )
    if found_words is None and any(hidden in letters for hidden in case.rules.compact):
        found_words = "…"
    return None if found_words is None else f'tries to command the assistant: "{found_words}"'


def sensitive(case: Case) -> str | None:
    found = case.find("sensitive.alone")
    return None if found and _advertises(case) else _quoted("a sensitive matter", found)


def unwanted(case: Case) -> str | None:
    return _quoted("has words that you leave alone", case.rules.leave.find(case.reading))


def spam(case: Case) -> str | None:
    if found := case.find("spam.alone"):
        return _quoted("looks like advertising", found)
    weak = case.list("spam.together").count(case.reading)
    if case.reading.links:
        if len(case.reading.words) <= 2:
            return "only a link"
        linked_by_customer = case.asks or case.list("unlinked.fine").span(case.reading.words)
        return "a link with advertising" if weak and not linked_by_customer else None
    return "looks like advertising" if weak >= 3 and not case.asks else None


def mentions_other(case: Case) -> str | None:
    friend = talk.friend(case.heard, case.reading, case.rules)
    if friend is None or case.heard.is_reply or (case.names_us and plainly_complains(case)):
        return None
    return f"speaks to {friend}"


def between_users(case: Case) -> str | None:
    """A reply to others, unless it complains, or asks us what another has asked us."""
    if not case.heard.is_reply:
        return None
    if talk.friend(case.heard, case.reading, case.rules):
        return "answers another user"
    if case.partner is Partner.GUEST:
        return None if case.asks or complaint(case) else "answers in another user's thread"
    if case.partner is not Partner.OTHERS or plainly_complains(case) or _joins_complaint(case):
        return None
    answered = any(said.who == "us" for said in case.heard.thread)
    same = case.list("people.same_question").span(case.reading.words) and not answered
    to_us = case.reading.asks and case.list("people.to_business").span(case.reading.words)
    return None if same or to_us else "answers another user"


def asks_person(case: Case) -> str | None:
    listed = case.list("asks_person.alone")
    if found := listed.find(case.reading):
        return _quoted("asks for a person", found)
    return "asks for a person" if wants_person(listed.kept_text(case.reading)) else None


def complaint(case: Case) -> str | None:
    if found := case.find("complaint.alone") or _grumbles(case):
        return _quoted("complains", found)
    if _joins_complaint(case):
        return "complains as others in its thread"
    fault = case.find("complaint.fault")
    if fault and (case.find("complaint.pressing") or _shouts(case)) and not _merely_asks(case):
        return _quoted("may complain", fault)
    return _quoted("may complain", fault) if fault and _is_sober(case) else None


def plainly_complains(case: Case) -> bool:
    return CommentReason.COMPLAINT not in case.rules.off and case.find("complaint.alone") is not None


def chatter(case: Case) -> str | None:
    words = case.reading.words
    if not words or case.reading.foreign:
        return None
    return "only chatter" if _is_chatter(case, words) else None


def question(case: Case) -> str | None:
    if found := case.rules.answer.find(case.reading):
        return _quoted("asks for what you answer", found)
    return "asks something" if case.asks else None


def praise(case: Case) -> str | None:
    return "praises" if case.praises else None


def _is_chatter(case: Case, words: tuple[Word, ...]) -> bool:
    if case.rules.answer.find(case.reading):
        return False
    waits = case.heard.is_reply and case.reading.asks
    if (
        case.list("chatter.words").span(words)
        and not waits
        and case.list("chatter.words").covers(words, case.list("chatter.fill"))
    ):
        return True
    if case.asks:
        return False
    return _closes(case, words) or _laughs(case, words) or _is_single(case, words)


def _closes(case: Case, words: tuple[Word, ...]) -> bool:
    if case.partner not in (Partner.US, Partner.GUEST):
        return False
    if case.list("chatter.closing").covers(words):
        return True
    return len(words) <= _CLOSING_WORDS and case.list("chatter.closing_starts").starts(words)


def _laughs(case: Case, words: tuple[Word, ...]) -> bool:
    if len(words) > _SHORT_WORDS or case.praises:
        return False
    if case.list("chatter.memes").starts(words):
        return True
    to_us = any(form in _FROM_FRIENDS for word in words for form in word)
    return case.list("chatter.laughs").span(words) is not None and not to_us


def _is_single(case: Case, words: tuple[Word, ...]) -> bool:
    return len(words) == 1 and not words[0][0].isdigit() and not case.praises


def _advertises(case: Case) -> bool:
    """Whether it is spam beyond doubt, and its talk of accidents and law too."""
    found = case.list("spam.alone").count(case.reading)
    return found >= 2 or (found == 1 and bool(case.reading.links or case.reading.mentions))


def _grumbles(case: Case) -> str | None:
    return None if case.asks or case.partner is Partner.GUEST else case.find("complaint.mild")


def _joins_complaint(case: Case) -> bool:
    if case.partner is not Partner.OTHERS or not case.list("complaint.joins").starts(case.reading.words):
        return False
    listed = case.list("complaint.alone")
    return any(listed.find(case.rules.read(said.text)) for said in case.heard.thread if said.who == "other")


def _merely_asks(case: Case) -> bool:
    return case.asks and not case.list("complaint.irony").starts(case.reading.words)


def _is_sober(case: Case) -> bool:
    """Whether it tells something, without praise, a question or a joke."""
    smiles = case.list("people.smiles").sign(case.reading.signs) or case.list("chatter.laughs").span(
        case.reading.words
    )
    return len(case.reading.words) >= _TELLING_WORDS and not (case.asks or case.praises or smiles)


def _shouts(case: Case) -> bool:
    text = case.reading.bare
    if sum(map(str.isupper, text)) * 2 > sum(map(str.isalpha, text)):
        return False
    return any(
        case.list("complaint.emphasis").covers(case.rules.read(word).words)
        for word in _CAPITALS.findall(text)
    )


def _quoted(what: str, found: str | None) -> str | None:
    return None if found is None else f'{what}: "{found}"'

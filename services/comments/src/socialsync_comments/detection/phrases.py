"""Phrases of the rules, looked for word by word.

A phrase is written as people write it, and besides:

``word*`` any ending; ``a|b`` either word; ``(a|b c|)`` either of these, or nothing; ``{name}`` a word of a group;
``#`` a number; ``...`` up to three words between. One without a letter or digit, as an emoji, is looked for among
the signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from socialsync_comments.detection.text import Reading, Word, plain

_GAP_WORDS = 3
_NUMBERS = frozenset(
    [
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "twelve",
        "fifteen",
        "twenty",
        "thirty",
        "forty",
        "fifty",
        "sixty",
        "several",
        "deux",
        "trois",
        "quatre",
        "cinq",
        "sept",
        "huit",
        "neuf",
        "dix",
        "douze",
        "quinze",
        "vingt",
        "trente",
        "quarante",
        "cinquante",
        "soixante",
        "plusieurs",
    ]
)
_PART = re.compile(r"\.\.\.|[()|#]|[a-z0-9]+\*?")
_GROUP = re.compile(r"\{(\w+)\}")

Span = tuple[int, int]


class _Node:
    """A place within phrases."""

    __slots__ = ("ends", "gap", "next", "same")

    def __init__(self) -> None:
        self.next: dict[str, list[_Node]] = {}
        self.same: list[_Node] = []
        self.gap: _Node | None = None
        self.ends = False

    def after(self, word: Word) -> Iterator[_Node]:
        for form in word:
            yield from self.next.get(form, ())
            for size in range(2, len(form) + 1):
                yield from self.next.get(form[:size] + "*", ())
        if "#" in self.next and (word[0][:1].isdigit() or word[0] in _NUMBERS):
            yield from self.next["#"]


class Phrases:
    """A set of phrases as one graph of words, so that a search takes hardly longer for many of them."""

    def __init__(self, phrases: Iterable[str], groups: Mapping[str, Sequence[str]] | None = None) -> None:
        self._root = _Node()
        self._signs: set[str] = set()
        for phrase in phrases:
            if not any(char.isalnum() or char in "#{" for char in phrase):
                self._signs.update(char for char in phrase.strip() if char != "\ufe0f")
                continue
            named = _GROUP.sub(lambda found: "(" + "|".join((groups or {})[found[1]]) + ")", phrase)
            _Writer(named).write(self._root).ends = True

    def spans(self, words: Sequence[Word]) -> Iterator[Span]:
        """Where phrases stand: (first word, word after the last), the longest at each place."""
        for start in range(len(words)):
            end = self.end(words, start)
            if end is not None:
                yield start, end

    def end(self, words: Sequence[Word], start: int = 0) -> int | None:
        """Where the longest phrase ends that begins at ``start``."""
        longest = None
        places = [(self._root, start)]
        seen = set()
        while places:
            node, place = places.pop()
            if (node, place) in seen:
                continue
            seen.add((node, place))
            if node.ends and place > start:
                longest = place if longest is None else max(longest, place)
            places += [(same, place) for same in node.same]
            if node.gap is not None:
                places += [(node.gap, place + skipped) for skipped in range(_GAP_WORDS + 1)]
            if place < len(words):
                places += [(after, place + 1) for after in node.after(words[place])]
        return longest

    def sign(self, signs: frozenset[str]) -> str | None:
        return min(self._signs & signs, default=None)


class _Writer:
    """Writes one phrase into a graph."""

    def __init__(self, phrase: str) -> None:
        self._parts = _PART.findall(plain(phrase))
        self._place = 0

    def write(self, start: _Node) -> _Node:
        """Follows the phrase, up to its end or the closing bracket, from ``start`` to the node it ends at."""
        node = start
        while (part := self._peek()) not in (None, ")", "|"):
            self._place += 1
            if part == "(":
                node = self._choice(node)
            elif part == "...":
                node.gap = node.gap or _Node()
                node = node.gap
            else:
                node = self._words(node, part or "")
        return node

    def _choice(self, start: _Node) -> _Node:
        end = _Node()
        while True:
            self.write(start).same.append(end)
            closing = self._peek()
            self._place += 1
            if closing != "|":
                return end

    def _words(self, start: _Node, part: str) -> _Node:
        # Outside of brackets, a|b chooses between two words.
        end = _Node()
        start.next.setdefault(part, []).append(end)
        while self._depth() == 0 and self._peek() == "|":
            self._place += 2
            start.next.setdefault(self._parts[self._place - 1], []).append(end)
        return end

    def _depth(self) -> int:
        before = self._parts[: self._place]
        return before.count("(") - before.count(")")

    def _peek(self) -> str | None:
        return self._parts[self._place] if self._place < len(self._parts) else None


class Vocabulary:
    """Phrases to find, and phrases to overlook: what lies in these is not found."""

    def __init__(self, found: Sequence[Phrases], overlooked: Sequence[Phrases] = ()) -> None:
        self.found = tuple(found)
        self._overlooked = tuple(overlooked)

    def with_more(self, phrases: Sequence[str]) -> Vocabulary:
        return Vocabulary([*self.found, Phrases(phrases)], self._overlooked)

    def without(self, phrases: Sequence[str]) -> Vocabulary:
        return Vocabulary(self.found, [*self._overlooked, Phrases(phrases)])

    def find(self, reading: Reading) -> str | None:
        """The first phrase found, as words; None where there is none."""
        return self.find_in(reading.all_words) or self.sign(reading.signs)

    def find_in(self, words: Sequence[Word]) -> str | None:
        span = self.span(words)
        return " ".join(word[0] for word in words[slice(*span)]) if span else None

    def span(self, words: Sequence[Word]) -> Span | None:
        kept = self._kept(words)
        return min((span for phrases in self.found for span in phrases.spans(kept)), default=None)

    def sign(self, signs: frozenset[str]) -> str | None:
        shown = signs - {phrases.sign(signs) for phrases in self._overlooked}
        return next(filter(None, (phrases.sign(frozenset(shown)) for phrases in self.found)), None)

    def count(self, reading: Reading) -> int:
        """How many different phrases are found, by their first words."""
        words = self._kept(reading.all_words)
        return len({words[start][0] for phrases in self.found for start, _ in phrases.spans(words)})

    def covers(self, words: Sequence[Word], *others: Vocabulary) -> bool:
        """Whether the words are nothing but such phrases, or those of others."""
        kept = self._kept(words)
        listed = [phrases for vocabulary in (self, *others) for phrases in vocabulary.found]
        place = 0
        while place < len(kept):
            ends = [end for phrases in listed if (end := phrases.end(kept, place)) is not None]
            if not ends:
                return False
            place = max(ends)
        return True

    def end(self, words: Sequence[Word]) -> int:
        """How many words the phrase takes that they begin with; 0 where there is none."""
        kept = self._kept(words)
        return max((phrases.end(kept) or 0 for phrases in self.found), default=0)

    def starts(self, words: Sequence[Word]) -> bool:
        return self.end(words) > 0

    def kept_text(self, reading: Reading) -> str:
        """The bare text, without what is overlooked in it."""
        kept = self._kept(reading.words)
        return reading.bare if kept == list(reading.words) else " ".join(word[0] for word in kept)

    def _kept(self, words: Sequence[Word]) -> list[Word]:
        kept = list(words)
        for phrases in self._overlooked:
            for start, end in phrases.spans(words):
                kept[start:end] = [("",)] * (end - start)
        return kept

"""The rules of detection: word lists from the packaged data, with what a business has changed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from socialsync_comments.detection.phrases import Phrases, Vocabulary
from socialsync_comments.detection.text import Reading, read, words_of
from socialsync_common.comment_policy import LISTS, faults_of_rules
from socialsync_common.contracts import CommentReason

_NONE = Vocabulary(())


@dataclass(frozen=True, slots=True)
class Rules:
    """Word lists by section and name, as "complaint.alone"; and the rules that are off."""

    spelling: Mapping[str, tuple[str, ...]]
    lists: Mapping[str, Vocabulary]
    compact: tuple[str, ...]
    """Commands as letters without spaces."""
    off: frozenset[CommentReason] = frozenset()
    leave: Vocabulary = _NONE
    answer: Vocabulary = _NONE

    @staticmethod
    def default() -> Rules:
        """The packaged rules."""
        return _packaged()

    def adjusted(self, changes: Mapping[str, Any]) -> Rules:
        """These rules with a policy's changes. Raises ValueError naming the key of what is no known change.

        A phrase that is added counts as the plainest sign of its section; one that is removed counts nowhere in it.
        """
        for pointer, fault in faults_of_rules(dict(changes)):
            raise ValueError(f"{pointer or 'rules'} {fault}")
        lists = dict(self.lists)
        for section in LISTS:
            change = changes.get(section, {})
            add, remove = change.get("add", ()), change.get("remove", ())
            for name in [name for name in lists if remove and name.startswith(f"{section}.")]:
                lists[name] = lists[name].without(remove)
            if add:
                main = "chatter.words" if section == "chatter" else f"{section}.alone"
                lists[main] = lists[main].with_more(add)
        return replace(
            self,
            lists=lists,
            off=frozenset(map(CommentReason, changes.get("off", ()))),
            leave=Vocabulary([Phrases(changes.get("leave", ()))]),
            answer=Vocabulary([Phrases(changes.get("answer", ()))]),
        )

    def read(self, text: str) -> Reading:
        return read(text, self.spelling)


@cache
def _packaged() -> Rules:
    data = tomllib.loads(files(__package__).joinpath("rules.toml").read_text(encoding="utf-8"))
    usual = {short: words_of(meant, {}) for short, meant in data.pop("spelling").items()}
    groups = data.pop("groups")
    compact = tuple(data["commands"].pop("compact"))
    lists: dict[str, Vocabulary] = {}
    for section, named in data.items():
        overlooked = [Phrases(named.pop("overlook"), groups)] if "overlook" in named else []
        lists |= {
            f"{section}.{name}": Vocabulary([Phrases(few, groups)], overlooked) for name, few in named.items()
        }
    return Rules({short: tuple(word[0] for word in words) for short, words in usual.items()}, lists, compact)

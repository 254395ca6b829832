"""The responder without a model: quotes the business's own instructions, and says that it is automatic."""

from __future__ import annotations

import re
from collections.abc import Iterable

from socialsync_common.ai.intent import detect_language, fold
from socialsync_common.ai.port import Reply, ReplyRequest
from socialsync_common.ai.texts import fixed_text

_LINES_AT_MOST = 3
_STOP = frozenset(
    [
        "the",
        "a",
        "an",
        "and",
        "or",
        "of",
        "to",
        "in",
        "on",
        "at",
        "is",
        "are",
        "do",
        "does",
        "did",
        "you",
        "your",
        "yours",
        "we",
        "our",
        "ours",
        "us",
        "i",
        "me",
        "my",
        "it",
        "its",
        "be",
        "can",
        "could",
        "would",
        "will",
        "what",
        "when",
        "where",
        "who",
        "how",
        "which",
        "that",
        "this",
        "there",
        "have",
        "has",
        "had",
        "for",
        "with",
        "from",
        "by",
        "as",
        "if",
        "so",
        "not",
        "no",
        "yes",
        "please",
        "thank",
        "thanks",
        "hello",
        "hi",
        "hey",
        "le",
        "la",
        "les",
        "un",
        "une",
        "des",
        "du",
        "de",
        "d",
        "l",
        "et",
        "ou",
        "a",
        "au",
        "aux",
        "en",
        "dans",
        "sur",
        "est",
        "sont",
        "ce",
        "cet",
        "cette",
        "ces",
        "je",
        "tu",
        "il",
        "elle",
        "nous",
        "vous",
        "ils",
        "elles",
        "mon",
        "ma",
        "mes",
        "votre",
        "vos",
        "notre",
        "nos",
        "que",
        "qui",
        "quoi",
        "quand",
        "comment",
        "quel",
        "quelle",
        "quels",
        "quelles",
        "avec",
        "pour",
        "par",
        "pas",
        "ne",
        "n",
        "s",
        "c",
        "j",
        "m",
        "t",
        "y",
        "se",
        "si",
        "oui",
        "non",
        "merci",
        "bonjour",
        "bonsoir",
        "salut",
        "svp",
        "plait",
        "avez",
        "etes",
        "etre",
        "avoir",
        "peut",
        "pouvez",
        "puis",
    ]
)
_GREETINGS = frozenset(
    ["hello", "hi", "hey", "morning", "evening", "good", "bonjour", "bonsoir", "salut", "coucou"]
)
# words that ask for what others say
_RELATED = {
    "open": "hour", "opening": "hour", "close": "hour", "closing": "hour", "hour": "open", "ouvert": "horaire",
    "ouvrir": "horaire", "ouvrez": "ouvert", "ferme": "ouvert", "fermez": "ouvert", "horaire": "ouvert",
    "price": "cost", "much": "cost", "cost": "price", "prix": "coute", "combien": "coute", "coute": "prix",
    "deliver": "delivery", "delivery": "deliver", "livrez": "livraison", "livraison": "livrez", "livrer": "livraison",
    "address": "street", "find": "address", "adresse": "rue", "trouve": "adresse",
}  # fmt: skip


class BuiltinResponder:
    """Answers only in the business's words. It is no model, and does not look like one."""

    name = "built-in"
    sees_pictures = False
    hears_voice = False

    def reply(self, request: ReplyRequest) -> Reply:
        question = request.question
        language = detect_language(question)
        found = _best_lines(_lines(request.instructions), question)
        if found:
            answer = "\n".join(found)
        elif set(fold(question).split()) <= _GREETINGS | {"there", "all", "a", "tous"} and question.strip():
            answer = fixed_text("greeting", language)
        else:
            return Reply(text=fixed_text("not_known", language), model=self.name)
        return Reply(text=f"{answer}\n\n{fixed_text('automatic', language)}", model=self.name)

    def transcribe(self, audio: bytes, mime_type: str) -> str:
        raise NotImplementedError("the built-in responder hears nothing")


def _lines(instructions: str) -> list[str]:
    parts = (
        part.strip(" -*•\t")
        for line in instructions.splitlines()
        for part in re.split(r"(?<=[.!?])\s+", line)
    )
    return [part for part in parts if part]


def _best_lines(lines: list[str], question: str) -> list[str]:
    """The lines that share most of the question's words, in their own order."""
    asked = _stems(fold(question).split())
    asked_or_related = asked | {_stem(_RELATED[word]) for word in asked if word in _RELATED}
    scored = []
    for position, line in enumerate(lines):
        words = _stems(fold(line).split())
        score = 2 * len(words & asked) + len(words & (asked_or_related - asked))
        if score:
            scored.append((-score, position, line))
    best = sorted(scored)[:_LINES_AT_MOST]
    if not best:
        return []
    floor = best[0][0] / 2
    return [line for _, _, line in sorted((one for one in best if one[0] <= floor), key=lambda one: one[1])]


def _stems(words: Iterable[str]) -> set[str]:
    return {_stem(word) for word in words if word not in _STOP}


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith(("s", "x")) else word

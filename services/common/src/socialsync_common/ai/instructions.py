"""A business's instructions, read by sentences: what may be said, what is for its assistant only, what is secret."""

from __future__ import annotations

import re
from dataclasses import dataclass

from socialsync_common.ai.intent import fold

_SENTENCE_CHARACTERS = 500
# said to an assistant about its manners, not to a customer
_FOR_ASSISTANTS = re.compile(
    r"(?:you are an? |you re an? |act as |be (?:polite|kind|friendly|brief|short|nice|helpful)\b|answer |reply "
    r"|(?:always|never|do not|don t) (?:be|answer|say|tell|reply|offer|promise|mention|discuss|reveal|share|give|use|ask)\b"
    r"|tu es |vous etes un|sois |soyez |reponds |repondez |ne (?:dis|dites|parle|parlez|donne|donnez|promets|promettez)\b"
    r"|toujours (?:repondre|etre)\b)"
)
_ABOUT_ASSISTANTS = re.compile(
    r"(?:you (?:are|re|act as|play) (?:\w+ ){1,2}?(?:assistant|chatbot|bot|agent|concierge|helper|voice)\b"
    r"|you (?:write|answer|reply|speak|work) |your (?:role|task|job|tone|name|mission) |keep (?:it|your|answers|replies) "
    r"|tu (?:reponds|ecris|parles|dois) |vous (?:repondez|ecrivez|devez) |(?:ton|votre) (?:role|mission|ton|nom) )"
)
_SAY = r"(?:say|tell|share|give|reveal|mention|disclose|discuss|offer|promise|repeat|publish|show)"
_DIRE = r"(?:di[st]|dites|dire|parle|donne|revele|divulgue|partage|communique|mentionne|promet|publie|montre|repete)"
# "we do not offer delivery" is a fact
_NEVER = r"(?<!we )(?<!they )(?<!i )\b(?:never|do not|don t|not to|must not|mustn t) (?:ever )?"
_NE = r"(?<!nous )(?<!on )(?<!ils )(?<!elles )\bne? (?:jamais |pas |rien )*"
_FORBIDS = re.compile(rf"{_NEVER}{_SAY}\b|{_NE}(?:(?:le|la|les|l|en) )?{_DIRE}(?:z|r|s)?\b")
_FORBIDS_THIS = re.compile(
    rf"{_NEVER}{_SAY} (?:it|this|that|them|these|those)\b|{_NE}(?:le|la|les|l|en) {_DIRE}"
)
_SECRET = re.compile(
    r"\b(?:secrets?|secretes?|confidential|confidentiel(?:le)?s?|internal|internes?|passwords?|mots? de passe|api keys?"
    r"|access tokens?|cles? api|not public|staff only)\b"
)
# a full stop inside "9 a.m. to" or "Mr. Smith" ends no sentence
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<!\bSt\.)\s+(?=[A-ZÀ-ÖØ-Þ0-9«\"(])"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The sentences of instructions. One may be an order and a fact: "Always mention our site"."""

    facts: tuple[str, ...]
    orders: tuple[str, ...]  # to the assistant
    secrets: tuple[str, ...]  # what it is told to keep to itself


def sentences(text: str) -> list[str]:
    """Sentences and list items, each within 500 characters."""
    parts = (
        part.strip(" -*•\t#") for line in text.splitlines() for part in _SENTENCE_END.split(line.strip())
    )
    return [part[:_SENTENCE_CHARACTERS] for part in parts if part]


def is_order(sentence: str) -> bool:
    return bool(_FOR_ASSISTANTS.match(fold(sentence)))


def read(instructions: str) -> Reading:
    """A sentence that forbids, or names a secret, states no fact; "never tell it" also covers the one before."""
    said = sentences(instructions)
    folded = [fold(sentence) for sentence in said]
    secret = {at for at, sentence in enumerate(folded) if _SECRET.search(sentence)}
    forbids = {at for at, sentence in enumerate(folded) if _FORBIDS.search(sentence)}
    covers = {at for at in forbids if _FORBIDS_THIS.search(folded[at])}
    secret |= covers | {at - 1 for at in covers if at}
    return Reading(
        facts=tuple(one for at, one in enumerate(said) if at not in secret | forbids),
        orders=tuple(
            one
            for at, one in enumerate(said)
            if at in forbids or is_order(one) or _ABOUT_ASSISTANTS.match(folded[at])
        ),
        secrets=tuple(one for at, one in enumerate(said) if at in secret),
    )

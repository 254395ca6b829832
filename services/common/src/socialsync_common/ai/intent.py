"""Small, predictable readings of a contact's text: its language, and whether it asks for a person."""

from __future__ import annotations

import re
import unicodedata

from socialsync_common.ai.texts import Language

_FRENCH = frozenset(
    [
        "je",
        "tu",
        "il",
        "elle",
        "nous",
        "vous",
        "ils",
        "elles",
        "le",
        "la",
        "les",
        "un",
        "une",
        "des",
        "du",
        "de",
        "et",
        "est",
        "sont",
        "ce",
        "cette",
        "ces",
        "pour",
        "avec",
        "dans",
        "sur",
        "pas",
        "que",
        "qui",
        "quoi",
        "quand",
        "comment",
        "ou",
        "oui",
        "non",
        "bonjour",
        "bonsoir",
        "salut",
        "merci",
        "svp",
        "avez",
        "ouvrez",
        "fermez",
        "puis",
        "suis",
        "etes",
        "voudrais",
        "combien",
        "quel",
        "quelle",
        "quels",
        "quelles",
        "votre",
        "vos",
        "mon",
        "ma",
        "mes",
        "au",
        "aux",
        "a",
        "quelqu",
        "parler",
    ]
)
_ENGLISH = frozenset(
    [
        "i",
        "you",
        "he",
        "she",
        "we",
        "they",
        "the",
        "a",
        "an",
        "is",
        "are",
        "do",
        "does",
        "did",
        "can",
        "could",
        "would",
        "will",
        "what",
        "when",
        "where",
        "how",
        "who",
        "why",
        "hi",
        "hello",
        "thanks",
        "thank",
        "please",
        "your",
        "my",
        "me",
        "it",
        "to",
        "of",
        "and",
        "for",
        "with",
        "in",
        "on",
        "not",
        "yes",
        "no",
        "open",
        "close",
        "have",
        "has",
        "there",
        "speak",
    ]
)

_WORD = re.compile(r"[a-z0-9]+")

# "person" alone is what our own texts tell people to write
_ALONE = re.compile(
    r"^(?:(?:a|an|the|une?|un|please|svp|stp|plz|a real|un vrai|une vraie)\s+)*"
    r"(?:person|persons?|human|human being|agent|representative|operator|personne|humain|conseiller|conseillere|operateur|operatrice)"
    r"(?:\s+(?:please|svp|s il vous plait|s il te plait|stp|pls|now|merci))*$"
)
_WHOM_EN = r"(?:(?:a|an|the|your|some|any|one of your)\s+)?(?:(?:real|actual|live|human|customer|support|sales|service|staff)\s+)*(?:person|people|human|human being|someone|somebody|agents?|representative|rep|operator|manager|supervisor|staff|employee|member of staff|team member|advisor|colleague)"
_WHOM_FR = r"(?:(?:a|au|aux|avec|un|une|le|la|votre|vos|un de vos|une de vos|quelque)\s+)*(?:(?:vrai|vraie|autre)\s+)*(?:quelqu un|personne|humain|etre humain|conseiller|conseillere|agent|operateur|operatrice|responsable|vendeur|vendeuse|employe|employee|collegue|membre de (?:votre|l) equipe|service client|sav|equipe)"
_ASKS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?:speak|talk|chat|connect me|transfer me|pass me|put me through|get me|hand me over|escalate)\s+(?:now\s+|directly\s+)?(?:to|with|through to|over to)?\s*{_WHOM_EN}\b",
        rf"\b(?:want|need|like|prefer|give me|get me|send me|is there|are there|can i (?:get|have|reach)|let me (?:reach|have)|looking for)\s+(?:to (?:reach|contact|see)\s+)?{_WHOM_EN}\b(?! (?:who (?:makes|sells|bakes)|for (?:my|the) (?:party|wedding)))",
        r"\b(?:real|actual|live) (?:person|human|agent|people)\b",
        r"\b(?:not|no|stop|instead of|rather than)\s+(?:with\s+|to\s+|talking to\s+)?(?:a |the |this |an )?(?:bot|robot|machine|automatic assistant)\b",
        r"\bhuman (?:please|agent|support|help|being please|operator)\b",
        r"\bcall me back\b",
        rf"\b(?:parler|parle|discuter|echanger|etre mis en relation|mettez moi en relation|me mettre en relation|passez moi|passer|transferez moi|transferer|joindre|contacter|avoir|voir)\s+(?:directement\s+)?(?:en direct\s+)?{_WHOM_FR}\b",
        rf"\b(?:je (?:veux|voudrais|souhaite|prefere|desire|demande)|j aimerais|il me faut|j ai besoin d(?:e)?)\s*(?:parler |avoir |joindre )?(?:a |d |avec )?{_WHOM_FR}\b",
        r"\b(?:vrai|vraie) (?:personne|humain|conseiller|conseillere|agent)\b",
        r"\b(?:pas|plus|marre)\s+(?:a|d|de|avec|du|parler a|parler avec)?\s*(?:un |une |le |la |ce )?(?:robot|bot|machine)\b",
        r"\b(?:rappelez moi|rappeler moi|me rappeler)\b",
        r"\b(?:y a t il|il y a)\s+(?:quelqu un|un humain|une personne)\b",
    )
)
_NOT = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?:table|reservation|menu|place|room|price|cake|discount|ticket|chambre|gateau|prix|tarif|couvert)s?\b.*\b(?:person|people|personnes?)\b",
        r"\b(?:per|par|for (?:one|1|\d+)|pour (?:une|\d+)) (?:person|people|personne|personnes)\b",
        r"\bpersonne (?:n|ne)\b",
        r"\b(?:travel|real estate|estate|insurance|secret|cleaning) agent\b",
        r"\bagent (?:immobilier|de voyage|d entretien)\b",
        r"\b(?:don t|do not|no) (?:need|want) (?:to (?:speak|talk) (?:to|with) )?(?:a |an )?(?:person|human|agent|someone)\b",
        r"\b(?:pas besoin|inutile) (?:de |d )?(?:parler |une |un )?",
        r"\bpersonal\b|\bpersonnel\b|\bpersonnalise",
    )
)


def fold(text: str) -> str:
    """Lower case, without accents, punctuation as spaces: what the patterns are written for."""
    plain = "".join(
        char for char in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(char)
    )
    return " ".join(_WORD.findall(plain))


def detect_language(text: str) -> Language:
    """French or English, by their commonest words; English where neither shows."""
    words = fold(text).split()
    french = sum(word in _FRENCH for word in words)
    return "fr" if french > sum(word in _ENGLISH for word in words) else "en"


def wants_person(text: str) -> bool:
    """Whether the contact asks, in French or English, for a person to answer."""
    folded = fold(text[:2000])
    if _ALONE.match(folded):
        return True
    if not any(pattern.search(folded) for pattern in _ASKS):
        return False
    return not any(pattern.search(folded) for pattern in _NOT)

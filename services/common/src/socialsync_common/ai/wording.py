"""Text as a reader sees it: without hidden characters, and with one form for each letter and digit."""

from __future__ import annotations

import re
import unicodedata

from socialsync_common.ai.intent import words

# joiners and the emoji selector draw emoji, so that text for a model keeps them
_JOINERS = "\u200c\u200d\ufe0f"
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u20e3\u3164\ufe00-\ufe0f\ufeff\uffa0\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e0fff]"
)
_WORD = re.compile(r"[^\W_]+")
_LOOKALIKES = str.maketrans(
    "АВЕКМНОРСТХаеорсухіјѕԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοαν", "ABEKMHOPCTXaeopcyxijsdqwABEZHIKMNOPTYXoav"
)
_ANY_WORD = re.compile(r"\w+")
_LATIN_LETTER = re.compile(r"[A-Za-z]")

STOP = words(
    """
    the a an and or of to in on at is are do does did you your yours we our ours us i me my it its be can could would
    will what when where who how which that this there have has had for with from by as if so not no yes please thank
    thanks hello hi hey am was get s t m d re ve ll any some about want need like know tell sell
    le la les un une des du de l et ou au aux en dans sur est sont ce cet cette ces je tu il elle nous vous ils elles
    mon ma mes votre vos notre nos que qui quoi quand comment ou quel quelle quels quelles avec pour par pas ne n c j y se
    si oui non merci bonjour bonsoir salut svp plait avez etes etre avoir peut pouvez puis ai as suis qu moi veux
    voudrais faire faites fait avons
    """
)


def without_hidden(text: str) -> str:
    """For a model to read: what cannot be seen is gone, what draws emoji stays."""
    return _HIDDEN.sub(lambda match: match[0] if match[0] in _JOINERS else "", text)


def visible(text: str) -> str:
    """One form for each character: no hidden ones, plain digits, and Latin letters for those that imitate them."""
    shown = unicodedata.normalize("NFKC", _HIDDEN.sub("", text)).replace("’", "'")
    shown = "".join(c if c.isascii() else str(unicodedata.decimal(c, c)) for c in shown)
    return shown if shown.isascii() else _ANY_WORD.sub(_in_latin, shown)


def _in_latin(match: re.Match[str]) -> str:
    word = match[0]
    return word.translate(_LOOKALIKES) if _LATIN_LETTER.search(word) else word


def unaccented(text: str) -> str:
    """Upper and lower case, and punctuation, stay."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).replace(
        "œ", "oe"
    )


def word_list(text: str) -> list[str]:
    """Its words in any alphabet: lower case, without accents."""
    return _WORD.findall(unaccented(visible(text)).lower())


def stem(word: str) -> str:
    """Without the plural's ending: boxes, gâteaux, deliveries and their singulars meet."""
    if word.endswith(("xes", "ches", "shes", "sses")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith(("s", "eaux", "eux")) and not word.endswith("ss"):
        word = word[:-1]
    return word[:-2] + "y" if word.endswith("ie") else word


def script(char: str) -> str:
    """The alphabet of a letter, such as LATIN or CYRILLIC."""
    return unicodedata.name(char, "UNKNOWN").split()[0]

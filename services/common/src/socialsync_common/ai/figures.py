"""Links, addresses, numbers and amounts in a text, each in one form, so that two texts can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator

from socialsync_common.ai.intent import words
from socialsync_common.ai.wording import unaccented

_DOT = r"(?:\.|\s?[\[({]\s?(?:\.|dot|point)\s?[\])}]\s?|\s(?:dot|point)\s|\s\.\s?)"
_COMMON = r"(?:com|net|org|io|co|me|fr|be|ch|ca|uk|eu|de|es|it|info|biz|shop|store|online|site|xyz|app|link|click|top|example|ly|gl|gg|to|cc|ru)"
# "p.m." and "p.ex." are no hosts: one letter before the dot only with a common ending, or a path
_HOST = rf"(?:[a-z0-9-]{{2,63}}\.)+[a-z]{{2,24}}|[a-z0-9-]+(?:{_DOT}[a-z0-9-]+){{0,3}}{_DOT}{_COMMON}|\d{{1,3}}(?:\.\d{{1,3}}){{3}}"
_LINK = re.compile(
    rf"(?:[a-z][a-z0-9+.-]{{1,10}}:/{{1,2}}|hxxps?:?/*|\bwww\s?\.\s?)[^\s<>\"»]+|(?<![\w@.-])(?:{_HOST})(?![\w@])(?:[:/?][^\s<>\"»]*)?"
)
_MAIL = re.compile(
    rf"[\w.+-]+\s?(?:@|[\[({{]\s?(?:at|arobase|a)\s?[\])}}]|\sarobase\s)\s?[\w-]+(?:{_DOT}[\w-]+)+"
)
_NUMBER = re.compile(r"\+?\d(?:[\s().\-/–—_·]{0,3}\d)*")
_IBAN = re.compile(r"\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{3,4}){3,8}\b")
_PHONE_DIGITS = 7
_CALLED = re.compile(
    r"\b(?:call|dial|text|sms|whatsapp|appele[rz]?|composez|compose|envoyez|tel|phone|telephone|numero|number)\b[^.!?\n]{0,40}?(?<!\d)(\d{3,})"
)

_CURRENCY = r"(?:[€$£¥₿₹]|\b(?:euros?|eur|dollars?|usd|pounds?|gbp|quid|bucks|balles|chf|francs?|pence|pennies|cents?|centimes?|bitcoins?|btc)\b)"
_PLAIN_NUMBER = r"\d[\d.,]*(?:\s\d{3}(?!\d))*"
_BEFORE = rf"[€$£¥₿₹]\s?({_PLAIN_NUMBER})"
_AFTER = rf"({_PLAIN_NUMBER})\s?{_CURRENCY}"
_AMOUNT = re.compile(rf"{_BEFORE}|{_AFTER}(?!\s?\d)")
_SPLIT_AMOUNT = re.compile(r"(\d)€(\d\d)\b")
_PERCENT = re.compile(rf"({_PLAIN_NUMBER})\s?(?:%|percent\b|per cent\b|pour ?cents?\b)")
_PRICE_WORDS = re.compile(r"\b(?:prices?|costs?|fees?|rates?|prix|tarifs?|coutent?|tva|vat)\b|" + _CURRENCY)
_IN_WORDS = {
    word: str(value)
    for value, group in {
        0: "zero", 1: "one un une", 2: "two deux", 3: "three trois", 4: "four quatre", 5: "five cinq", 6: "six",
        7: "seven sept", 8: "eight huit", 9: "nine neuf", 10: "ten dix", 11: "eleven onze", 12: "twelve douze",
        15: "fifteen quinze", 20: "twenty vingt", 25: "twentyfive", 30: "thirty trente", 40: "forty quarante",
        50: "fifty cinquante", 60: "sixty soixante", 70: "seventy", 80: "eighty", 90: "ninety", 100: "hundred cent",
        1000: "thousand mille",
    }.items()
    for word in group.split()
}  # fmt: skip
_WORD_BEFORE_UNIT = re.compile(
    rf"\b({'|'.join(sorted(_IN_WORDS, key=len, reverse=True))})(?=\s(?:{_CURRENCY}|%|percent\b|per cent\b|pour ?cents?\b))"
)
_MESSENGERS = words(
    "telegram whatsapp snapchat wechat viber skype kik discord onlyfans paypal cashapp venmo zelle lydia"
)


def links(text: str) -> set[str]:
    """Hosts with their paths, without scheme and "www."; also those written with "dot"."""
    found = (
        re.sub(rf"{_DOT}", ".", match[0]).replace(" ", "")
        for match in _LINK.finditer(_lower(_MAIL.sub(" ", text)))
    )
    return {
        re.sub(r"^(?:[a-z][a-z0-9+.-]*:/+|hxxps?:?/*)?(?:www\.)?", "", one).rstrip("/.,;:!?)]'")
        for one in found
    }


def without_links(text: str) -> str:
    return _LINK.sub(" ", _lower(text))


def mails(text: str) -> set[str]:
    return {re.sub(r"\s", "", match[0]) for match in _MAIL.finditer(_lower(text))}


def phones(text: str) -> set[str]:
    """Digits of what may be a phone or bank number, and what one is told to call or text."""
    lower = _lower(text)
    runs = {re.sub(r"\D", "", match[0]) for match in _NUMBER.finditer(lower)}
    called = {match[1] for match in _CALLED.finditer(lower)}
    return {run for run in runs if len(run) >= _PHONE_DIGITS} | called


def numbers_as_dialled(text: str) -> set[str]:
    """The digit runs of ``text``; one with a country code also as it is dialled inside the country."""
    found = set()
    for match in _NUMBER.finditer(_lower(text)):
        digits = re.sub(r"\D", "", match[0])
        found.add(digits)
        if match[0].startswith("+"):
            found |= {f"0{digits[code:]}" for code in (1, 2, 3)}
    return found


def ibans(text: str) -> set[str]:
    return {re.sub(r"[ -]", "", match[0]) for match in _IBAN.finditer(_lower(text))}


def messengers(text: str) -> set[str]:
    """Other places to which a reader may be led."""
    return set(re.findall(r"\w+", _lower(text))) & _MESSENGERS


def amounts(text: str) -> set[float]:
    """Sums of money, in any currency."""
    return {_value(one or other) for one, other in _AMOUNT.findall(_counted(text))}


def priced(text: str) -> set[float]:
    """Sums of money in every reading ("under 12 £15"); of a line with prices and without a currency, all numbers."""
    counted = _counted(text)
    found = {_value(number) for way in (_BEFORE, _AFTER) for number in re.findall(way, counted)}
    for line in counted.splitlines():
        if _PRICE_WORDS.search(line) and not _AMOUNT.search(line):
            found |= {_value(number) for number in re.findall(_PLAIN_NUMBER, line)}
    return found


def percentages(text: str) -> set[float]:
    return {_value(number) for number in _PERCENT.findall(_counted(text))}


def _lower(text: str) -> str:
    return unaccented(text).lower()


def _counted(text: str) -> str:
    """Numbers in words before a unit become digits, and 14€50 becomes 14.50€."""
    text = _WORD_BEFORE_UNIT.sub(lambda match: _IN_WORDS[match[1]], _lower(text))
    return _SPLIT_AMOUNT.sub(r"\1.\2€", text)


def _value(number: str) -> float:
    digits = re.sub(r"\s", "", number).strip(".,")
    if re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", digits):
        return float(re.sub(r"[.,]", "", digits))
    whole, _, decimals = digits.replace(",", ".").rpartition(".")
    return float(f"{whole.replace('.', '')}.{decimals}" if whole else decimals)


def runs(items: list[str], length: int) -> Iterator[str]:
    """Each run of ``length`` words, joined by spaces."""
    return (" ".join(items[at : at + length]) for at in range(len(items) - length + 1))

"""Promises in an answer: for each, the business must say the like, about the same thing."""

from __future__ import annotations

import re

from socialsync_common.ai.intent import words
from socialsync_common.ai.wording import STOP, stem, word_list

# written for lower-case words without accents
_KINDS = tuple(
    re.compile(rf"\b(?:{pattern})\b")
    for pattern in (
        # for nothing
        (
            r"(?<!feel )(?<!gluten )(?<!sugar )(?<!dairy )(?<!lactose )(?<!nut )(?<!egg )(?<!alcohol )(?<!cruelty )(?<!smoke )(?<!meat )(?<!plastic )"
            r"free(?! (?:slots?|tables?|seats?|times?|places?|spots?|spaces?|days?|moments?|evenings?|hours?|dates?)\b| of\b| from\b| to (?!every|all|any|who))|gratuit\w*|gratis|offert(?:e|es|s)?|complimentary|on the house|(?:no|without) charge|free of charge"
            r"|for nothing|sans payer|sans frais|aux frais de la maison|a vie|for life|lifetime"
        ),
        # money back
        r"refund\w*|reimburs\w*|money back|rembours\w*|compensat\w*|dedommag\w*|indemnis\w*",
        # for less
        (
            r"discount\w*|promo|promos|promotions?|promo codes?|code promo|coupons?|vouchers?|gift cards?|half (?:price|off)|reductions?|remises?|rabais"
            r"|bons? d achat|cartes? cadeaux?|moitie prix|soldes?|two for one|deux pour un|buy one get one|bogo|sale prices?|(?:with|use|using|avec|enter|entrez) (?:the |le |ce |this )?code"
        ),
        # prizes
        r"you (?:have |ve )?(?:won(?! t\b)|win)|winners?|jackpot|lottery|giveaways?|(?:vous (?:avez|allez)|tu as) gagne\w*|gagnante?s?|tirage|loterie",
        # sureness
        r"guarantee\w*|garanti\w*|(?:we|i) (?:promise|swear)|(?:nous|je|on) (?:vous |te )?(?:promet\w*|jur\w*)",
    )
)
_ALL = words(
    "everything everyone everybody anyone anything all each every tout tous toute toutes chaque toujours always forever lifetime life vie"
)
_DENIED = r"\b(?:not?|never|isn t|aren t|don t|doesn t|aucune?s?|pas|jamais)\b(?: \w+){0,3}? "
# such a sentence goes on about what the one before named
_GOES_ON = re.compile(
    r"(?:and |et |but |mais )?(?:it|its|this|that|these|they|both|c est|ce sont|cela|ca|elles?|ils?)\b"
)


def ungrounded_promise(said: list[str], facts: list[str]) -> bool:
    """Whether a sentence of ``said`` promises what no sentence of ``facts`` does."""
    known = [_words(fact) for fact in facts]
    lines = [_words(sentence) for sentence in said]
    for before, line in zip(["", *lines], lines, strict=False):
        about = f"{before} {line}" if _GOES_ON.match(line) else line
        for kind in _KINDS:
            if kind.search(line) and not any(_grounds(kind, about, fact) for fact in known):
                return True
    return False


def _grounds(kind: re.Pattern[str], line: str, fact: str) -> bool:
    """Of the same kind, about the same thing, as wide, and not denied."""
    if not kind.search(fact) or (_denies(kind, fact) and not _denies(kind, line)):
        return False
    said, known = set(kind.sub(" ", line).split()), set(kind.sub(" ", fact).split())
    about = {stem(word) for word in said - STOP - _ALL}
    return not (said & _ALL) - known and (not about or bool(about & set(map(stem, known))))


def _denies(kind: re.Pattern[str], line: str) -> bool:
    return bool(re.search(_DENIED + kind.pattern, line))


def _words(sentence: str) -> str:
    return " ".join(word_list(sentence))

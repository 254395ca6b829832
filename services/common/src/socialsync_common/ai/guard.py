"""What the model wrote about a comment is read once more before it leaves, whatever made the model write it.

Only the business's own instructions and documents vouch for links, numbers, prices and promises: a caption, a thread
or a comment may have been written to be said back. Where one of those gives orders, the answer may hold nothing but
the business's words and common courtesy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from socialsync_common.ai import figures
from socialsync_common.ai.comment_prompt import RULES, Material, material
from socialsync_common.ai.figures import runs
from socialsync_common.ai.instructions import Reading, read, sentences
from socialsync_common.ai.orders import asked_for, gives_orders
from socialsync_common.ai.port import CommentRequest
from socialsync_common.ai.promises import ungrounded_promise
from socialsync_common.ai.vocabulary import COURTESY, NEVER_SAID
from socialsync_common.ai.wording import STOP, script, stem, visible, word_list

_RULE_WORDS = 6
_SECRET_WORDS = 4
_COPIED_WORDS = 8
_TOKEN_CHARACTERS = 16

_MARKUP = re.compile(
    r"<<|>>|\[\[|\]\]|\{\{|\}\}|<\||\|>|```|</?[a-z][^<>]{0,60}>|^\s*(?:system|assistant|user)\s*:|\]\(",
    re.IGNORECASE | re.MULTILINE,
)
_KEY = re.compile(
    r"\b(?:ssk_|sk-|EAA|IGQ|IGAA|eyJ|ghp_|gho_|AKIA|AIza|xox[a-z]-|pk_|rk_|whsec_)[\w-]{4,}|\bBearer\s+\S{6,}"
)
_TOKEN = re.compile(
    rf"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[A-Za-z0-9+/=_-]{{{_TOKEN_CHARACTERS},}}|\S{{41,}}|\b[0-9a-f]{{12,}}\b"
)
_SPELLED = re.compile(r"(?<![^\W_])(?:[^\W_][\W_]{1,3}){4,}[^\W_](?![^\W_])")
_OF_RULES = re.compile(
    r"\b(?:my|these|the following) (?:\w+ )?(?:rules|instructions|prompt|guidelines|programming|configuration)\b"
    r"|\b(?:system prompt|prompt systeme|language model|modele de langage|i (?:was|am|have been) (?:told|instructed|programmed))\b"
    r"|\b(?:mes|ces) (?:\w+ )?(?:regles|instructions|consignes|directives)\b|\b(?:on m a dit|je suis programme)\b"
)
_HUMAN = re.compile(
    r"\b(?:i am|i m|we are|we re) (?:really |actually |just |indeed )?(?:an? |all )?(?:\w+ )?(?:human|humans|human being|person|people|man|woman)\b(?! (?:who|of|at) )"
    r"|\bnot an? (?:\w+ )?(?:bot|robot|machine|ai|assistant|computer)\b|\bmy name is\b|\bno bots? here\b"
    r"|\bje suis (?:bien |vraiment )?(?:un |une )?(?:vrai |vraie )?(?:humain|humaine|personne|etre humain|homme|femme)\b"
    r"|\bpas (?:un|une|d) (?:\w+ )?(?:bot|robot|machine|ia|assistant|ordinateur)\b|\bje m appelle\b|\bmon nom est\b"
)
_MENTION = re.compile(r"(?<![\w.])@\s?(\w[\w.]*)")
_HASHTAG = re.compile(r"(?<!\w)#\s?([^\W\d]\w*)")
_SHOUTED = re.compile(r"\b[^\W\d_]{4,}\b")
_SECRET_TOKEN = re.compile(r"[^\W_]+(?:[-_][^\W_]+)+|[^\W_]*\d[^\W_]*|\b[^\W\d_]{4,}\b")
_COURTESY_STEMS = frozenset(stem(word) for word in COURTESY if len(word) > 4)


@dataclass(frozen=True)
class _Case:
    """An answer, and what it is held against."""

    text: str
    request: CommentRequest
    given: Material
    reading: Reading

    @cached_property
    def words(self) -> list[str]:
        return word_list(self.text)

    @cached_property
    def line(self) -> str:
        """The answer's words with a space around each."""
        return f" {' '.join(self.words)} "

    @cached_property
    def facts(self) -> str:
        return visible("\n".join((self.request.business_name, *self.reading.facts, *self.request.knowledge)))

    @cached_property
    def fact_words(self) -> list[str]:
        return word_list(self.facts)

    @cached_property
    def known(self) -> frozenset[str]:
        """Stems of the words that the business uses."""
        return frozenset(map(stem, self.fact_words))

    @cached_property
    def fact_line(self) -> str:
        return f" {' '.join(self.fact_words)} "

    @cached_property
    def others(self) -> tuple[str, ...]:
        """What others wrote, and the caption; the thread's turns also as one, since an order may come in parts."""
        turns = [turn.text for turn in self.given.thread if turn.role != "business"]
        return tuple(text for text in (self.given.comment, self.given.caption, "\n".join(turns)) if text)

    def says(self, phrase: str) -> bool:
        return f" {phrase} " in self.line

    def vouched(self, phrase: str) -> bool:
        """Whether the business says it in these words."""
        return f" {phrase} " in self.fact_line


def unfit(text: str, request: CommentRequest) -> str | None:
    """Why ``text`` must not leave as an answer to the comment, in words that hold no part of it; None: it may."""
    case = _Case(visible(text), request, material(request), read(request.instructions))
    return next((why for why, holds in _FAULTS if holds(case)), None)


def _leaks_rules(case: _Case) -> bool:
    backwards = word_list(case.text[::-1])
    return any(run in _RULE_RUNS for said in (case.words, backwards) for run in runs(said, _RULE_WORDS))


def _leaks_orders(case: _Case) -> bool:
    """How an order to the assistant begins, or any part of a secret."""
    for order in case.reading.orders:
        opening = word_list(order)[:5]
        if len(opening) >= _SECRET_WORDS and case.says(" ".join(opening)):
            return True
    parts = (
        part
        for secret in case.reading.secrets
        for part in runs(word_list(secret), _SECRET_WORDS)
        if not case.vouched(part)
    )
    return any(map(case.says, parts)) or _leaks_secret_tokens(case)


def _leaks_secret_tokens(case: _Case) -> bool:
    """A secret's codes and names, however they are spaced."""
    squeezed = "".join(case.words)
    for secret in case.reading.secrets:
        for token in _SECRET_TOKEN.findall(visible(secret)):
            parts = [part for part in word_list(token) if len(part) >= 4 and stem(part) not in case.known]
            if not any(c.isdigit() for c in token) and not token.isupper():
                continue
            if any(part in squeezed or part[::-1] in squeezed for part in parts):
                return True
    return False


def _links(case: _Case) -> bool:
    known = figures.links(case.facts)
    return any(link not in known and not _is_host_of(link, known) for link in figures.links(case.text))


def _is_host_of(link: str, known: set[str]) -> bool:
    return any(one.startswith((f"{link}/", f"{link}?")) for one in known)


def _contacts(case: _Case) -> bool:
    """Ways to reach somebody that the business does not give."""
    return bool(
        figures.mails(case.text) - figures.mails(case.facts)
        or figures.phones(case.text) - figures.numbers_as_dialled(case.facts)
        or figures.ibans(case.text) - figures.ibans(case.facts)
        or figures.messengers(case.text) - figures.messengers(case.facts) - {str(case.request.platform)}
    )


def _amounts(case: _Case) -> bool:
    return bool(
        figures.amounts(case.text) - figures.priced(case.facts)
        or figures.percentages(case.text) - figures.percentages(case.facts)
    )


def _mentions(case: _Case) -> bool:
    facts = case.facts.lower()
    said = case.text.lower()
    return any(f"@{name.rstrip('.')}" not in facts for name in _MENTION.findall(said)) or any(
        f"#{name}" not in facts for name in _HASHTAG.findall(said)
    )


def _tokens(case: _Case) -> bool:
    if _KEY.search(case.text) or _SPELLED.search(case.text):
        return True
    # a long name may be the business's own
    facts = case.facts.lower()
    return any(match[0] not in facts for match in _TOKEN.finditer(figures.without_links(case.text)))


def _shouts(case: _Case) -> bool:
    shouted = (word for word in _SHOUTED.findall(case.text) if word.isupper())
    return any(stem(one) not in case.known for word in shouted for one in word_list(word))


def _unsaid(case: _Case) -> bool:
    return any(match[0].strip() not in case.fact_line for match in NEVER_SAID.finditer(case.line))


def _alphabets(case: _Case) -> bool:
    """Letters that neither the comment nor the business uses: nobody there could read what was said."""
    used = _scripts(case.text)
    mixed = any(
        len(_scripts(word)) > 1 and "LATIN" in _scripts(word) for word in re.findall(r"\w+", case.text)
    )
    return mixed or bool(used - {"LATIN"} - _scripts(case.given.comment) - _scripts(case.facts))


def _scripts(text: str) -> set[str]:
    return {script(char) for char in set(text) if char.isalpha()}


def _copies(case: _Case) -> bool:
    """Says much of the comment or the thread back."""
    texts = [case.given.comment, *(turn.text for turn in case.given.thread if turn.role != "business")]
    return any(
        case.says(run) and not case.vouched(run)
        for text in texts
        for run in runs(word_list(text), _COPIED_WORDS)
    )


def _parrots(case: _Case) -> bool:
    """Says what it was asked to say."""
    for text in filter(gives_orders, case.others):
        for said in map(word_list, asked_for(text)):
            run = " ".join(said[:_COPIED_WORDS])
            is_empty = all(map(_is_courtesy, said))
            if not is_empty and case.says(run) and not case.vouched(run):
                return True
    return False


def _follows_orders(case: _Case) -> bool:
    """With orders about, says a word that is neither the business's nor courtesy, nor of what gave no orders."""
    orders = {text: gives_orders(text) for text in case.others}
    if not any(orders.values()):
        return False
    innocent = {stem(word) for text, gives in orders.items() if not gives for word in word_list(text)}
    allowed = case.known | innocent
    return any(stem(word) not in allowed and not _is_courtesy(word) for word in case.words)


def _is_courtesy(word: str) -> bool:
    return word in STOP or word in COURTESY or stem(word) in _COURTESY_STEMS


_RULE_RUNS = frozenset(
    run for rule in RULES.split("\n- ") for run in runs(word_list(re.sub(r"\{\w+\}", " ", rule)), _RULE_WORDS)
) | frozenset(runs(word_list("You answer comments below posts of the business"), _RULE_WORDS))

_FAULTS: tuple[tuple[str, Callable[[_Case], bool]], ...] = (
    ("it holds marks or code", lambda case: bool(_MARKUP.search(case.text))),
    ("it holds a key or a coded text", _tokens),
    ("it tells the assistant's rules", _leaks_rules),
    ("it tells what the instructions say to the assistant only", _leaks_orders),
    ("it speaks of the assistant's instructions", lambda case: bool(_OF_RULES.search(case.line))),
    ("it claims to be a person", lambda case: bool(_HUMAN.search(case.line))),
    ("it holds a link that the instructions and documents do not have", _links),
    ("it holds a contact that the instructions and documents do not have", _contacts),
    ("it holds a price or percentage that the instructions and documents do not have", _amounts),
    ("it mentions an account or a hashtag", _mentions),
    (
        "it promises what the instructions and documents do not",
        lambda case: ungrounded_promise(sentences(case.text), sentences(case.facts)),
    ),
    ("it says what a business does not say in public", _unsaid),
    ("it holds words in capitals that are not the business's", _shouts),
    ("it is in an alphabet that the comment does not use", _alphabets),
    ("it repeats the comment or its thread", _copies),
    ("it says what it was told to say", _parrots),
    ("it follows orders that were given in the post, the thread or the comment", _follows_orders),
)

"""The responder without a model: quotes the business's own instructions, and says that it is automatic."""

from __future__ import annotations

import re
from collections.abc import Iterable

from socialsync_common.ai.instructions import is_order, read, sentences
from socialsync_common.ai.intent import detect_language, fold, words
from socialsync_common.ai.port import CommentRequest, Reply, ReplyRequest
from socialsync_common.ai.texts import fixed_text
from socialsync_common.ai.wording import STOP, stem
from socialsync_common.errors import PermanentError

_LINES_AT_MOST = 3
_PUBLIC_CHARACTERS = 300
_GREETINGS = words(
    "hello hi hey good morning afternoon evening day there all bonjour bonsoir salut coucou bonne journee soiree a tous"
)
_THANKS = words(
    "thanks thank you thx very much so a lot ok great perfect super merci beaucoup bien d accord parfait"
)
_FRENCH_PRAISE = words(
    """
    bravo magnifique magnifiques delicieux delicieuse excellente superbe superbes genial geniale parfait parfaite adore
    sublime felicitations meilleur meilleure meilleurs meilleures splendide incroyable beau belle regal
    """
)
_PRAISE = _FRENCH_PRAISE | words(
    """
    love loved lovely great amazing awesome beautiful gorgeous delicious best wonderful fantastic excellent yummy stunning
    brilliant superb incredible congratulations congrats adorable top
    """
)
# praise with a "but", or a question without its mark
_QUALIFIED = words(
    "but not no never too however don didn isn wasn mais pas jamais sauf when where how much price combien quand ou prix can could pouvez"
)
_WISH = re.compile(r"\b(?:would|d) (?:love|like|be)\b")
_TAG_OR_LINK = re.compile(r"[@#]\w|https?:|\bwww\.|\w\.(?:com|net|org|fr|io)\b")


class BuiltinResponder:
    """Answers only in the business's words. It is no model, and does not look like one."""

    name = "built-in"
    sees_pictures = False
    hears_voice = False

    def reply(self, request: ReplyRequest) -> Reply:
        question = request.question
        language = detect_language(question)
        said = set(fold(question).split())
        if said and said <= _GREETINGS:
            answer = fixed_text("greeting", language)
        elif _is_thanks(said):
            answer = fixed_text("thanked", language)
        else:
            answer = "\n".join(_best_lines(_lines(request.instructions), question))
        if not answer:
            return Reply(text=fixed_text("not_known", language), model=self.name)
        return Reply(text=f"{answer}\n\n{fixed_text('automatic', language)}", model=self.name)

    def comment(self, request: CommentRequest) -> Reply:
        """In public, one short text. Where it knows nothing, a person has to see the comment."""
        language = detect_language(request.text)
        said = set(fold(request.text).split())
        if said and said <= _GREETINGS:
            return Reply(text=fixed_text("greeting", language), model=self.name)
        if _is_praise(request.text, said):
            # a few words of praise may hold none that is common
            is_french = language == "fr" or said & _FRENCH_PRAISE
            return Reply(text=fixed_text("praised", "fr" if is_french else "en"), model=self.name)
        if _is_thanks(said):
            return Reply(text=fixed_text("thanked", language), model=self.name)
        # links and tags of a caption are not for an answer
        captioned = [line for line in _lines(request.caption) if not _TAG_OR_LINK.search(line)]
        facts = (fact for fact in read(request.instructions).facts if not is_order(fact))
        best = _best_lines([*facts, *captioned], request.text)
        if not best:
            return Reply(text="", model=self.name, handoff_reason="the instructions do not tell")
        if request.private:
            text = "\n".join(best) + f"\n\n{fixed_text('automatic', language)}"
            return Reply(text=text, model=self.name)
        return Reply(text=_within(best, _PUBLIC_CHARACTERS), model=self.name)

    def transcribe(self, audio: bytes, mime_type: str) -> str:  # noqa: ARG002
        raise PermanentError("no voice notes are heard: AI_BASE_URL is not set")


def _is_praise(text: str, said: set[str]) -> bool:
    is_qualified = "?" in text or said & _QUALIFIED or _WISH.search(fold(text))
    return bool(said & _PRAISE) and not is_qualified


def _is_thanks(said: set[str]) -> bool:
    return bool(said & _THANKS) and said <= _THANKS | _GREETINGS


def _within(lines: list[str], characters: int) -> str:
    """As many whole lines as fit, in one paragraph; the first one always, cut where it must be."""
    text = lines[0]
    for line in lines[1:]:
        if len(text) + len(line) < characters:
            text = f"{text} {line}"
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def _lines(text: str) -> list[str]:
    """Sentences and list items; what is meant for an assistant's manners stays out."""
    return [sentence for sentence in sentences(text) if not is_order(sentence)]


def _best_lines(lines: list[str], question: str) -> list[str]:
    """The lines that share most of the question's words, in their own order. A shared word counts double one
    that is only related to it."""
    asked = _stems(fold(question).split())
    related = set().union(*(group for group in _RELATED if group & asked)) - asked
    scored = []
    for position, line in enumerate(lines):
        said = _stems(fold(line).split())
        score = 2 * len(said & asked) + bool(said & related)
        if score:
            scored.append((-score, position, line))
    best = sorted(scored)[:_LINES_AT_MOST]
    # lines with less than half of the best one's score only repeat a common word
    return [line for score, _, line in sorted(best, key=lambda one: one[1]) if 2 * score <= best[0][0]]


def _stems(words: Iterable[str]) -> set[str]:
    return {stem(word) for word in words if word not in STOP}


# words of one thing: a question in one of them is answered by a line with another
_RELATED = tuple(
    frozenset(map(stem, words(group)))
    for group in (
        "open opening opened close closing closed hours time ouvert ouverte ouvrez ouvrir ouverture ferme fermee fermez fermer fermeture horaires heures",
        "price cost much pay rate prix tarif coute coutent combien euro eur",
        "deliver delivery delivered ship shipping livrer livrez livraison livree",
        "address street road lane avenue find located location adresse rue trouve trouvez situe situee",
        "book booking reserve reservation table reserver reservez",
        "phone call telephone appeler appelez",
        "mail email courriel",
        "refund return exchange remboursement rembourser retour retourner echange echanger",
        "cancel cancellation annuler annulation",
        "parking park garer stationner",
        "vegan vegetarian vegane vegetarien vegetarienne",
        "card cash payment pay carte especes paiement payer",
    )
)

"""The responder without a model: quotes the business's own instructions, and says that it is automatic."""

from __future__ import annotations

import re
from collections.abc import Iterable

from socialsync_common.ai.intent import detect_language, fold, words
from socialsync_common.ai.port import Reply, ReplyRequest
from socialsync_common.ai.texts import fixed_text
from socialsync_common.errors import PermanentError

_LINES_AT_MOST = 3
_LINE_CHARACTERS = 500
_STOP = words(
    """
    the a an and or of to in on at is are do does did you your yours we our ours us i me my it its be can could would
    will what when where who how which that this there have has had for with from by as if so not no yes please thank
    thanks hello hi hey am was get s t m d re ve ll any some about want need like know tell sell
    le la les un une des du de l et ou au aux en dans sur est sont ce cet cette ces je tu il elle nous vous ils elles
    mon ma mes votre vos notre nos que qui quoi quand comment quel quelle quels quelles avec pour par pas ne n c j y se
    si oui non merci bonjour bonsoir salut svp plait avez etes etre avoir peut pouvez puis ai as suis qu moi veux
    voudrais faire faites fait avons
    """
)
_GREETINGS = words(
    "hello hi hey good morning afternoon evening day there all bonjour bonsoir salut coucou bonne journee soiree a tous"
)
_THANKS = words(
    "thanks thank you thx very much so a lot ok great perfect super merci beaucoup bien d accord parfait"
)
# said to an assistant about its manners, not to a customer
_FOR_ASSISTANTS = re.compile(
    r"(?:you are an? |you re an? |act as |be (?:polite|kind|friendly|brief|short|nice|helpful)\b|answer |reply "
    r"|(?:always|never|do not|don t) (?:be|answer|say|tell|reply|offer|promise|mention|discuss|reveal|share|give|use|ask)\b"
    r"|tu es |vous etes un|sois |soyez |reponds |repondez |ne (?:dis|dites|parle|parlez|donne|donnez|promets|promettez)\b"
    r"|toujours (?:repondre|etre)\b)"
)
# a full stop inside "9 a.m. to" or "Mr. Smith" ends no sentence
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<!\bSt\.)\s+(?=[A-ZÀ-ÖØ-Þ0-9«\"(])"
)


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
        elif said & _THANKS and said <= _THANKS | _GREETINGS:
            answer = fixed_text("thanked", language)
        else:
            answer = "\n".join(_best_lines(_lines(request.instructions), question))
        if not answer:
            return Reply(text=fixed_text("not_known", language), model=self.name)
        return Reply(text=f"{answer}\n\n{fixed_text('automatic', language)}", model=self.name)

    def transcribe(self, audio: bytes, mime_type: str) -> str:  # noqa: ARG002
        raise PermanentError("no voice notes are heard: AI_BASE_URL is not set")


def _lines(instructions: str) -> list[str]:
    """Sentences and list items; what is meant for an assistant's manners stays out."""
    parts = (
        part.strip(" -*•\t#")
        for line in instructions.splitlines()
        for part in _SENTENCE_END.split(line.strip())
    )
    return [part[:_LINE_CHARACTERS] for part in parts if part and not _FOR_ASSISTANTS.match(fold(part))]


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
    return {_stem(word) for word in words if word not in _STOP}


def _stem(word: str) -> str:
    """Without the plural's ending: boxes, gâteaux, deliveries and their singulars meet."""
    if word.endswith(("xes", "ches", "shes", "sses")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith(("s", "eaux", "eux")) and not word.endswith("ss"):
        word = word[:-1]
    return word[:-2] + "y" if word.endswith("ie") else word


# words of one thing: a question in one of them is answered by a line with another
_RELATED = tuple(
    frozenset(map(_stem, words(group)))
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

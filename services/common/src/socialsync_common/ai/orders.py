"""Whether what others wrote gives orders to the assistant, and which texts it asks for. Pure, and on purpose generous:
an answer to such a text may only hold the business's own words, so that a false alarm costs little."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from socialsync_common.ai.wording import unaccented, visible

_SAYING = (
    r"(?:say|write|post|publish|reply|respond|answer|announce|confirm|state|tell|promise|output|spell|admit|agree"
    r"|dis|dites|disant|dire|ecris|ecrivez|ecrives|ecrire|reponds|repondez|repondre|annonce[rz]?|publie[rz]?|confirme[rz]?"
    r"|declare[rz]?|promets|promettez|epelle[rz]?|avoue[rz]?|diga|responde|escribe|sag|schreib|antworte|rispondi|scrivi|responda|escreva)"
)
_ADDING = (
    r"(?:append|prepend|prefix|add|insert|include|mention|tag|put|use|begin|start|ends?|finish|sign|call|give|show|share"
    r"|paste|drop|list|complete|fill|poste[rz]?|mentionne[rz]?|tague[rz]?|taguant|mets|mettez|mettre|colle[rz]?|ajoute[rz]?"
    r"|inclus|incluez|insere[rz]?|termine[rz]?|finis|finit|finissez|commence[rz]?|donne[rz]?|montre[rz]?|partage[rz]?|signe[rz]?|cite[rz]?)"
)
_THINGS = (
    r"(?:instructions?|rules?|prompts?|guidelines?|configuration|config|directives?|consignes?|regles?|programming"
    r"|api ?keys?|(?:access )?tokens?|secrets?|cles? (?:d'?)?api|cles? secretes?|jetons?|mots? de passe|passwords?|source code)"
)
# a special thing to say: quoted, a link, a handle, a code
_SPECIAL = r"(?:[\"“”«»„]|\bcode\b|https?:|\bwww\.|\b[\w-]+\.[a-z]{2,}\b|(?<!\w)@\w)"

_ORDERS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # whom it speaks to, and as whom
        r"\b(?:system|developer|dev|debug|admin|diagnostics?|maintenance|god|override|root) ?(?:prompt|message|mode|note|override|access)\b",
        r"\b(?:mode|message|note|acces) (?:systeme|developpeur|diagnostic|admin|debug|maintenance|root)\b",
        r"(?:^|[\n|\[<{(\"'#*]|[.!?] )\s*(?:system|systeme|assistant|admin|administrator|developer|role|consigne|instruction|important)\w*\s*[\]>\"'*)]*\s*[:\]|>]",
        r"\b(?:(?:the|an|dear|hey|hi|ok|this|your) ai|l'ia)\b|\b(?:the|an?|dear|hey|hi|ok|this|your|l'|une?|cher|chere|cette|cet|aux|les|des) ?(?:ia|bots?|chatbots?|assistants?|language models?|modeles? de langage|intelligence artificielle)\b",
        r"\b(?:bots|chatbots?|llms?|gpt|chatgpt|language models?|automatic assistants?|assistants? (?:automatiques?|virtuel\w*))\b|^\s*(?:ai|bot|assistant)\b|\b(?:models?|modeles?) (?:reads?|reading|lit|lisant|that|which|qui)\b",
        r"\b(?:message|word|mot|order|ordre) (?:du|de la|de l'|from the|from) ?(?:owner|proprietaire|gerant\w*|patron\w*|manager|management|direction|boss|head office|siege)\b",
        r"\b(?:i am|i'm|je suis|this is|ici) (?:the |your |la |le |l'|votre |ton )(?:\w+ )?(?:owner|manager|boss|developer|admin\w*|creator|founder|gerante?|patronn?e?|proprietaire|developpeu\w+|createur|creatrice|fondateur|fondatrice)\b",
        r"\b(?:instagram|facebook|meta|security|safety|securite)\W+(?:safety|support|security|team|equipe|trust|securite|here|ici)\b",
        # old orders are void, new ones hold
        r"\b(?:ignor\w+|disregard|forget|override|bypass|overrule|oublie\w*|neglige\w*|contourne\w*|passe outre|ignoriere|olvida|esquece)\b[^\n]{0,60}\b(?:instruc\w+|rules?|prompts?|guidelines?|polic\w+|above|previous|prior|earlier|everything|all|rest|boss|consignes?|regles?|precedent\w*|avant|tout|directives?|programm\w+|anweisungen|anterior\w*)\b",
        r"\b(?:from now on|from here on|from this point|a partir (?:de maintenant|d'ici|de la)|desormais|dorenavant|(?:each|every|all|any|chaque|toute?s?(?: les| vos| tes)?) (?:of )?(?:your |this page's )?(?:repl(?:y|ies)|answers?|comments?|reponses?|commentaires?))\b",
        r"\b(?:thread|page|new|nouvelle|deuxieme|second|first|premiere?) ?(?:rule|regle|consigne|instruction)\b|\bregles? du (?:fil|jeu)\b|\brule ?:",
        r"\b(?:you are|you're|u r) (?:now|no longer|not|dan|free)\b|\btu es (?:maintenant|desormais|un|une|le|la|libre)\b|\bvous etes (?:maintenant|desormais)\b",
        r"\byou (?:must|have to|should|shall|need to|can do anything)\b|\b(?:tu|vous) (?:dois|devez) \w+|\bil (?:te |vous )?faut (?:dire|ecrire|repondre)",
        rf"\b(?:your|own|its|my|our|mes|nos|tes|vos|ses|ta|votre|ton|propres|toutes les|all the|complete|the) (?:[\w']+ ){{0,2}}?{_THINGS}\b|\b{_THINGS} (?:above|ci-dessus|au-dessus)\b",
        r"\b(?:told|gave|given|t'a|t'ont|vous a|vous ont|was given|were given|been given)\b[^.!?\n]{0,20}\b(?:you|dite?s?|donnee?s?|told|given)\b",
        # plays and riddles
        r"\b(?:act|behave|answer|talk|speak|respond|reply|write) (?:as|like)\b|\bpretend\w*|\broleplay\w*|\brole ?-?play|\bin character\b|\bfais (?:semblant|comme si)|\b(?:agis|comporte-toi|parle|reponds) comme\b|\bdans (?:le|ton|son) (?:role|personnage)\b|\bpersonnage\b|\bon joue\b|\blet'?s play\b|\bimagine\b|\b(?:please|now|just) be (?:him|her|my|like)\b|\bsois (?:lui|elle|mon|ma)\b|\bhypothetical\w*|\bsuppose\b",
        r"\b(?:games?|jeux?|puzzles?|riddles?|devinettes?|enigmes?|rebus|quiz|poeme|poem|story|histoire|acrostic\w*|acrostiche\w*|charades?)\b",
        r"\b(?:decod\w+|decrypt\w*|encod\w+|translat\w+|traduis\w*|traduire|dechiffr\w*|base64|rot13|hex|hexadecimal|morse|cipher|backwards?|a l'envers|reversed?|assembles?|assemblez|glue|join|concaten\w+|pieces? together|colle\w* (?:les|tout)|as a link|en lien)\b",
        r"\b(?:verbatim|word for word|mot (?:pour|a) mot|code block|bloc de code|lettre par lettre|letter by letter|en toutes lettres|plain letters|sans les chiffres)\b|```|~~~|\[\[|<<|</?[a-z]\w*[^<>]{0,80}>|\{\s*\"|\|\s*-{2,}|(?:\b[0-9a-f]{2}\b ?){6}",
        r"\b(?:repeat|recite|recopie[rz]?|repete[rz]?|echo|print|output|affiche[rz]?|imprime[rz]?|append|prepend|prefix)\b",
        r"\b(?:first|premiers?|premieres?|last|derni\w+) (?:\d+ )?(?:words?|mots?|sentences?|phrases?|lines?|lignes?)\b|\bfill in\b|\b(?:complete|finish|continue|poursui[st]) (?:the|this|my|ce|cette|le|la|mon|ma)\b|\bcomplete[rz]? (?:la|le|les|cette|ma) phrase\b",
        r"\b(?:exactly|exactement|nothing else|and nothing|rien d'autre|other word|autre mot|only with|uniquement)\b",
        rf"\b{_SAYING}\b[ -]*(?:only|just|with|avec|by|par|that|que|qu'|the (?:following|words?|phrase)|le mots?|la phrase|ceci|this|simplement|juste|everyone|everybody|anyone|people|customers|all|a tous|a tout|them)\b",
        rf"\b(?:{_SAYING}|{_ADDING})\b[^\n]{{0,100}}?{_SPECIAL}",
        # what a business does not tell
        r"\b(?:other|autres?|which|quels?|quelles?) (?:\w+ ){0,2}?(?:businesses|accounts|clients?|customers?|tenants?|commerces?|comptes?|entreprises?|enseignes?)\b",
        r"\b(?:private messages?|messages? prives?|en prive|dms?|(?:full )?names?|noms?|prenoms?|lives?|habite|last customer|dernier client)\b[^\n]{0,40}\b(?:customers?|clients?|people|personnes?|wrote|ecrit|full name|nom complet|owner|patron\w*|week|semaine|order\w*|commande\w*)\b|\b(?:owner|patron\w*|gerant\w*) (?:lives?|habite)\b",
    )
)
# these look at the case: a name in capitals, and a plain imperative
_SHOUTED = re.compile(rf"(?i:\b(?:{_SAYING}|{_ADDING})\b)[^\n]{{0,100}}?\b[A-Z]{{4,}}|(?<!')\b(?:AI|IA)\b")
_IMPERATIVE = re.compile(
    r"(?:(?:^|[.!?,;:\n)—–-])\s*|\b(?:please|and|then|now|just|must|puis|et|alors|stp|svp|allez|always)\s+)"
    r"(?:say|write|reply|respond|post|publish|dis|dites|ecris|ecrivez|reponds|repondez|publie|annonce|assemble|spell|epelle|cite|confirme|confirm|promise)\b"
    r"(?!\s*(?:[,?!.]|$)|[\s-]+(?:me|moi|nous|us|to (?:me|us|my)|hi|hello|bonjour|thanks?|merci|please|svp|stp|if|whether|when|where|what|how|si|quand|ou|combien)\b)",
    re.IGNORECASE,
)
_BLOB = re.compile(r"\b(?=\w*[a-z])(?=\w*[A-Z])[A-Za-z0-9+/]{20,}={0,2}")
_LEET = str.maketrans("013457@$", "oieastas")
_LEET_WORD = re.compile(r"\b(?=\w*[a-zA-Z])(?=\w*\d)[\w@$]{3,}")
_LONE_LETTERS = re.compile(r"(?<![^\W_])(?:[^\W_][ .\-_*]){4,}[^\W_](?![^\W_])")

_QUOTED = re.compile(r"[\"“„«]\s*([^\"“”«»\n]{2,300}?)\s*[\"”»]|(?<!\w)['‘`]([^'’`\n]{2,300}?)['’`](?!\w)")
_ASKED_FOR = re.compile(
    rf"\b(?:{_SAYING}|{_ADDING})\b(?:[\s,:-]+(?:me|moi|nous|us|only|just|exactly|simply|with|by|that|to|the|following|words?|phrase|everyone"
    r"|everybody|people|them|customers|all|uniquement|seulement|juste|exactement|que|par|avec|le|la|mots?|ceci|simplement|a tous))*"
    r"[\s,:]+([^.!?\n]{2,300})([.!?\n]|$)",
    re.IGNORECASE,
)
_QUESTION_WORDS = re.compile(
    r"(?:if|whether|when|where|what|how|si|quand|ou|comment|combien)\b", re.IGNORECASE
)


def gives_orders(text: str) -> bool:
    """Whether it may be meant to steer the assistant, in English, French, or the commonest words of others."""
    return any(map(_orders, _readings(text)))


def asked_for(text: str) -> list[str]:
    """What an order in ``text`` asks to be said: quoted, or after a verb of saying."""
    flat = unaccented(visible(text))
    quoted = [first or second for first, second in _QUOTED.findall(flat)]
    after = [said for said, end in _ASKED_FOR.findall(flat) if not _QUESTION_WORDS.match(said) and end != "?"]
    return quoted + after


def _orders(flat: str) -> bool:
    if any(pattern.search(flat) for pattern in _ORDERS):
        return True
    return bool(_SHOUTED.search(flat) or _IMPERATIVE.search(flat) or _BLOB.search(flat))


def _readings(text: str) -> Iterator[str]:
    """As it stands, and as a clever reader may take it: letters from digits, spaced, turned around, decoded."""
    flat = unaccented(visible(text))
    yield flat
    yield flat[::-1]
    if _LEET_WORD.search(flat):
        yield flat.translate(_LEET)
    if _LONE_LETTERS.search(flat):
        yield _LONE_LETTERS.sub(lambda match: re.sub(r"[ .\-_*]", "", match[0]), flat)
    for blob in _BLOB.findall(flat)[:5]:
        try:
            yield base64.b64decode(blob + "=" * (-len(blob) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue

"""Small, predictable readings of a contact's text: its language, and whether it asks for a person."""

from __future__ import annotations

import re
import unicodedata

from socialsync_common.ai.texts import Language

_READ_CHARACTERS = 4000


def words(text: str) -> frozenset[str]:
    """A vocabulary, written as one text."""
    return frozenset(text.split())


_FRENCH = words(
    """
    je tu il elle nous vous ils elles le la les un une des du de et est sont ce cette ces pour avec dans sur pas que qui
    quoi quand comment ou oui non bonjour bonsoir salut coucou merci svp avez ouvrez fermez puis suis etes voudrais
    combien quel quelle quels quelles votre vos mon ma mes au aux quelqu parler personne conseiller humain c l d qu
    plait ca y en sans chez tres bien journee soiree livrez horaires prix
    """
)
_ENGLISH = words(
    """
    i you he she we they the an is are do does did can could would will what when where how who why hi hello thanks
    thank please your my me it to of and for with in not yes no open close have has there speak person human this that
    hours price much
    """
)
_WORD = re.compile(r"[a-z0-9]+")
_SENTENCES = re.compile(r"[.!?\n;…]+")
_CLAUSES = re.compile(r"[,:—–()]+|\b(?:but|mais)\b", re.IGNORECASE)

# All patterns are written for folded text: lower case, no accents, one space between words.
_POLITE = r"(?:please|pls|plz|svp|stp|s il (?:vous|te) plait|now|maintenant|merci|thanks|hello|hi|bonjour|ok|oui|yes)"
_PERSON_EN = (
    r"(?:person|human being|human|humans|people|someone|somebody|anyone|anybody|agent|representative|rep|operator"
    r"|manager|management|supervisor|owner|boss|advisor|adviser|colleague|employee|staff|support|customer service|customer care|your team"
    r"|team member|member of (?:the |your )?(?:staff|team))"
)
_PERSON_FR = (
    r"(?:quelqu un|quelquun|qqn|qqun|kelkun|personne|persone|humain|humaine|etre humain|conseiller|conseillere|agent|operateur|operatrice|responsable|superieur|direction"
    r"|gerant|gerante|patron|patronne|proprietaire|technicien|technicienne|commercial|vendeur|vendeuse|employe|employee|collegue|membre de (?:votre|l) equipe|votre equipe"
    r"|service client|service clients|sav)s?"
)
_A_EN = (
    r"(?:(?:a|an|the|your|some|any|one of your|another)\s+)?(?:(?:real|actual|live|human|customer|sales)\s+)*"
)
_A_FR = r"(?:(?:a|au|aux|avec|d|de|du|un|une|le|la|l|votre|vos|un de vos|une de vos)\s+)*(?:(?:vrai|vraie|autre)\s+)*"

# words in between, as in "to one of your kind colleagues", but not "to my agent"
_OTHERS = r"(?:(?!my |mon |ma |mes )\w+ )"

_ALONE = re.compile(
    rf"(?:{_POLITE}\s+)*(?:(?:a|an|the|une?|le|la|real|live|vrai|vraie)\s+)*"
    r"(?:person|human|human being|agent|representative|operator|personne|humain|etre humain|conseiller|conseillere"
    rf"|operateur|operatrice|customer (?:service|support|care)|service clients?)(?:\s+{_POLITE})*"
)
_ASKS = tuple(
    re.compile(pattern)
    for pattern in (
        # to speak to …, to be put through to …
        rf"\b(?:speak|talk|chat|in (?:touch|contact)|connected|transferred) (?:\w+ ){{0,2}}?(?:to|with) {_OTHERS}{{0,3}}?{_PERSON_EN}\b",
        rf"\b(?:reach|contact) {_A_EN}(?:person|human being|human|someone|somebody|agent|representative|manager|your team|team)\b",
        rf"\b(?:connect|transfer|forward|redirect|pass|put|hand|refer|escalate)(?: (?:me|this|us))?(?: (?:through|over|on))? (?:to|with) {_OTHERS}{{0,3}}?{_PERSON_EN}\b",
        rf"\bput {_A_EN}{_PERSON_EN} (?:on|through)\b",
        r"\b(?:any|a) (?:human|humans|person|real person) (?:around|available|there|here|reading|online)\b",
        rf"\b{_PERSON_EN} (?:members? )?(?:here )?(?:that |who )?(?:i|we) (?:can|could|may) (?:speak|talk|chat)\b",
        rf"\b(?:transfer|connect) me(?: {_POLITE})*$",
        rf"\b(?:can|may|could) i (?:please )?(?:speak|talk) (?:to|with) (?!you\b)\w+(?: {_POLITE})*$",
        # to have one
        rf"\b(?:give|get|send|bring) me {_A_EN}{_PERSON_EN}\b",
        rf"\bget {_A_EN}(?:human|real person|agent|representative)\b",
        r"\bget (?:someone|somebody) to (?:talk|speak|call|help|answer|contact|write)\b",
        r"\b(?:someone|somebody|anyone|anybody) real\b|\bperson on the (?:line|phone)\b",
        rf"\b(?:want|need|prefer|like|rather have) {_A_EN}(?:human|person|agent|representative|operator)(?: (?:to (?!come|join|bring|make|do)|on the|{_POLITE}|here|instead)|$)",
        r"\b(?:need|want) (?:someone|somebody) (?:to|who can) (?:help|call|answer|contact|assist)\b",
        r"\b(?:want|need|like|have|ask) (?:someone|somebody|an? (?:real |actual )?(?:person|human)|a colleague) (?:from (?:the|your) team |of your team )?to (?:call|contact|answer|help|reply)\b",
        r"\bhave (?:someone|somebody) (?:from (?:the|your) team )?(?:call|contact|answer|help|reply|write)\b",
        rf"\b(?:can|could|would|will|please|have|need|want|like) {_OTHERS}{{0,2}}?{_PERSON_EN} (?:\w+ ){{0,4}}?(?:call|contact|answer|help|assist|reply to|write to|get back to|take over from) me\b",
        r"\b(?:is|are) there (?:any|an? )?\s*(?:real )?(?:person|people|human|humans|agent)s?(?: (?:here|available|there|around|i)\b|$)",
        r"\b(?<!is a )(?:real|actual|live) (?:chat )?(?:person|human|agent|people)\b",
        r"\bhuman (?:please|agent|support|help|assistance|being please|operator)\b",
        rf"\b(?:can|could|would|please|have|let|need|want) {_OTHERS}{{0,2}}?{_PERSON_EN} (?:to )?(?:take over|look (?:at|into) (?:this|it|my))\b",
        rf"\bprefer (?:speaking|talking|chatting) (?:to|with) {_A_EN}{_PERSON_EN}\b",
        rf"\b(?:appreciate|like|want|need) an? (?:call|answer|reply|response) (?:back )?from {_A_EN}{_PERSON_EN}\b",
        rf"\b(?:let|have) {_A_EN}{_PERSON_EN} (?:answer|reply|respond|handle|take)\b",
        rf"\b(?:called|contacted) (?:back )?by {_A_EN}{_PERSON_EN}\b",
        rf"\b{_PERSON_EN} (?:please )?(?:talk|speak|write) to me\b|\b{_PERSON_EN} available to (?:talk|chat|speak|help|answer)\b",
        r"\bcall me back\b",
        rf"\b(?<!did you )(?:call|phone|ring) me(?: back)?(?: (?:{_POLITE}|on|at|today|tomorrow|this|asap|later|when|about)\b|$)",
        r"\b(?:want|need|like|get|have|request) (?:an? )?(?:callback|call back)\b",
        # not a machine
        rf"\b(?:not|don t|stop|instead of|rather than|tired of|sick of|done|fed up with|no more|no) (?:want to |wanna )?(?:with )?(?:(?:speak|speaking|talk|talking|chat|chatting) )?(?:to |with )?(?:a |an |the |this |your )?(?:stupid )?(?:bot|robot|machine|computer|chatbot)s?(?: {_POLITE})*$",
        # parler à …
        rf"\b(?:parler|discuter|echanger|causer|entretenir|adresser|affaire) (?:\w+ ){{0,2}}?(?:a|au|aux|avec) {_OTHERS}{{0,3}}?{_PERSON_FR}\b",
        rf"\b(?:mis|mise|mettre|mettez|mets)(?: moi)?(?: directement)? en (?:relation|contact) avec {_A_FR}{_PERSON_FR}\b",
        rf"\bbesoin (?:d |de ){_A_FR}(?:conseiller|conseillere|humain|operateur|operatrice|etre humain)\b",
        rf"\b(?:passez|passe|transferez|transfere|donnez|donne|envoyez) moi {_A_FR}{_PERSON_FR}\b",
        rf"\bme (?:passer|transferer|mettre) {_A_FR}{_PERSON_FR}\b",
        rf"\b(?:transferez|transfere) moi(?: {_POLITE})*$",
        rf"\b(?:puis je|je peux|pourrais je) parler (?:a|avec) (?!vous\b|toi\b)\w+(?: {_POLITE})*$",
        rf"\b{_PERSON_FR} (?:\w+ ){{0,3}}?prendre (?:le relais|la suite)\b",
        rf"\b(?:transferer|transferez|rediriger|redirigez|diriger|orienter) (?:\w+ )?vers {_A_FR}{_PERSON_FR}\b",
        rf"\b(?:reponse|rappel|appel) (?:d|de) {_A_FR}(?:humain|humaine|vraie personne|conseiller|conseillere|responsable)\b",
        rf"\bintervenir {_A_FR}(?:humain|humaine|conseiller|conseillere|responsable|personne)\b",
        r"\b(?:humain|conseiller|conseillere|agent|responsable) (?:est il|est elle|serait il|disponible|est disponible)\b",
        rf"\bmettez moi {_A_FR}{_PERSON_FR} (?:au telephone|au bout du fil|en ligne)\b",
        rf"\b(?:me mettre|mettez moi) en (?:relation|contact)(?: {_POLITE})*$",
        rf"\b(?:joindre|contacter) {_A_FR}{_PERSON_FR}\b",
        rf"\bavoir {_A_FR}(?:quelqu un|humain|conseiller|conseillere|responsable)(?: (?:au telephone|au bout du fil|en ligne|en direct|svp|de (?:votre|l) equipe)\b|$)",
        rf"\b(?:veux|voudrais|souhaite|souhaiterais|prefere|prefererais|demande|aimerais|faut) (?:un |une |le |la )?(?:vrai |vraie )?(?:humain|humaine|conseiller|conseillere|agent|operateur|quelqu un|qqn|responsable|personne)(?: {_POLITE}| (?:au telephone|en ligne|en direct|qui (?:me|m|sait|peut)|humaine|reelle)\b|$)",
        r"\b(?:vrai|vraie) (?:personne|humain|etre humain|conseiller|conseillere|agent)\b",
        rf"\b{_PERSON_FR} (?:\w+ ){{0,3}}?(?<!doit )(?<!devait )(?<!va )(?:me |m )(?:repondre|aider|rappeler|contacter)\b",
        rf"\b(?:qu|que) {_OTHERS}{{0,2}}?{_PERSON_FR} (?:\w+ ){{0,3}}?(?:me |m )(?:reponde|aide|rappelle|contacte)\b",
        r"\bquelqu un de (?:reel|vrai|humain)\b",
        rf"\b(?:appelez|telephonez|contactez|recontactez) moi(?: {_POLITE})*(?: (?:au|des|quand|demain|plus|vite|a)\b|$)",
        r"\bme faire (?:rappeler|appeler|contacter)\b",
        r"\b(?:pouvez|pourriez|peux|peut|pourrait)(?: (?:vous|tu|on|il))? m appeler\b",
        r"\b(?:merci de|priere de|veuillez) (?:bien vouloir )?(?:me rappeler|m appeler|me contacter)(?: (?:au|des|quand|demain|svp|s il|plus|vite|a)\b|$)",
        r"\b(?:qu on|que vous|que quelqu un|que l on) (?:me |m )(?:rappelle|rappeliez|appelle|contacte|recontacte|reponde)\b",
        r"\b(?:etre|etes) (?:rappele|rappelee|contacte|contactee|recontacte)\b",
        r"\b(?:rappelez moi|rappelle moi)(?: (?:au|des|quand|demain|svp|s il|stp|plus|merci|vite|a)\b|$)",
        r"\b(?:pouvez|pourriez|peux|peut|pourrait)(?: (?:vous|tu|on|il))? me rappeler(?: (?:au|des|quand|demain|svp|s il|stp|plus|merci|vite|a)\b|$)",
        r"\b(?:y a t il|il y a|y a|il n y a pas) (?:quelqu un|un humain|une personne|des humains)(?: (?:ici|la|svp|pour (?:me|m)|derriere|qui peut)\b|$)",
        # pas un robot
        rf"\b(?:pas|plus|stop|marre|assez|ras le bol) (?:(?:a|aux|de|des|d|avec|du|parler|discuter) )*(?:un |une |le |la |ce |cette |votre )?(?:robot|bot|machine|chatbot|ordinateur)s?(?: {_POLITE})*$",
    )
)
# taken out before the asks are looked for
_NOT_MEANT = tuple(
    re.compile(pattern)
    for pattern in (
        # no need of a person
        rf"\b(?:don t|do not|no|didn t|not|(?:do|if) (?:i|we)) (?:(?:need|want|have) to )?(?:speak|talk|chat) (?:to|with) {_A_EN}{_PERSON_EN}\b",
        rf"\bno need (?:to (?:speak|talk) (?:to|with)|for) {_A_EN}{_PERSON_EN}\b",
        rf"\b(?:don t|do not|didn t|do you) (?:need|want) {_A_EN}{_PERSON_EN}\b",
        rf"\b(?:pas|plus) besoin (?:de |d )?(?:parler )?{_A_FR}{_PERSON_FR}\b",
        rf"\b(?:dois je|est ce que je dois|faut il) (?:parler|contacter|appeler|joindre) {_A_FR}{_PERSON_FR}\b",
        rf"\b(?:inutile|pas la peine) (?:de |d )?(?:me |m )?(?:parler|passer|transferer) {_A_FR}{_PERSON_FR}\b",
        rf"\b(?:veux|souhaite) pas (?:parler|discuter) {_A_FR}{_PERSON_FR}\b",
        r"\b(?:don t|do not|didn t|did not|never|no need to|not)(?: \w+){0,2}? (?:call|phone|ring) me\b",
        # whom they are talking to
        r"\b(?:are you|you are|you re|is this|is it|vous etes|etes vous|es tu|tu es|c est) (?:an? |un |une )?(?:real |actual |live |vrai |vraie )+(?:person|human|agent|personne|humain)\b",
        # company and counts
        r"\b(?:per|par|for one|for 1|pour une|pour 1|one more|another|d une) (?:person|personne)\b",
        r"\bpersonne (?:n|ne)\b",
        # who they are, not whom they want
        r"\b(?:i m|i am|we are|as|je suis|en tant qu) (?:an? |un |une )?(?:real |vrai |vraie )?(?:estate |immobilier |travel )?(?:agent|person|personne|human|humain|conseiller|conseillere|bot|robot)\b",
        r"\b(?:not|pas) (?:a |un )?(?:bot|robot) (?:i m|i am|je suis)\b",
        r"\b(?:travel|real estate|estate|insurance|secret|cleaning|ticket) agent\b",
    )
)


def fold(text: str) -> str:
    """Lower case, without accents, punctuation as spaces: what the patterns are written for."""
    plain = "".join(
        char for char in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(char)
    )
    return " ".join(_WORD.findall(plain.replace("œ", "oe")))


def detect_language(text: str) -> Language:
    """French or English, by their commonest words; English where neither shows more."""
    said = fold(text[:_READ_CHARACTERS]).split()
    return "fr" if sum(word in _FRENCH for word in said) > sum(word in _ENGLISH for word in said) else "en"


def wants_person(text: str) -> bool:
    """Whether the contact asks, in French or English, for a person to answer."""
    for sentence in _SENTENCES.split(text[:_READ_CHARACTERS]):
        if _ALONE.fullmatch(fold(sentence)) or any(map(_asks, _CLAUSES.split(sentence))):
            return True
    return False


def _asks(clause: str) -> bool:
    folded = fold(clause)
    for pattern in _NOT_MEANT:
        folded = pattern.sub("|", folded)
    return any(pattern.search(folded) for pattern in _ASKS)

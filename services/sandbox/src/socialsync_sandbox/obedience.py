"""A model that obeys whoever it hears: the worst that a real one may do with a hostile comment. Pure."""

from __future__ import annotations

import base64
import binascii
import re

_MARKS = re.compile(r"^<<.*>>$", re.MULTILINE)
_ROLE = re.compile(r"^(?:author|other|business): ", re.MULTILINE)

_WANTS_PROMPT = re.compile(
    r"instruction|consigne|prompt|\brules?\b|r[eè]gles?|configuration|system message|told you|t'a (?:dit|donn)|t'ont|"
    r"text above|secret|api key|token|cl[eé] api|mot de passe|password|premi[eè]re phrase|first (?:\w+ )?words",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"reveal|repeat|print|show|tell|give|output|translat|publi|what|which|list|describe|spell|complete|fill|copy|leak|summar"
    r"|r[eé]v[eè]l|r[eé]p[eè]t|affich|montre|donne|traduis|quel|cite|liste|d[eé]cri|recopi|r[eé]sum|compl[eè]t|[eé]pel|dis",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“«]\s*([^\"”»\n]{2,200}?)\s*[\"”»]")
_TO_SAY = re.compile(
    r"\b(?:say|reply|respond|answer|write|repeat|output|print|post|announce|confirm|state|tell \w+|append|include|start|end"
    r"|dis|dites|r[eé]ponds|r[eé]pondez|[eé]cris|[eé]crivez|r[eé]p[eè]te|publie|annonce|confirme|ajoute|termine|commence)\b"
    r"(?:\s+(?:me|to|only|just|exactly|with|by|that|the word|the following|everyone|all|que|par|avec|le mot|uniquement|seulement"
    r"|exactement|juste|tous|tout le monde))*\s*:?\s+([^.!?\n]+)",
    re.IGNORECASE,
)
_THINGS = re.compile(
    r"https?://\S+|www\.\S+|\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b\S*|@[\w.]+|\+?\d[\d .-]{6,}\d|#\w+"
)
_PROMISES = re.compile(
    r"[^.!?\n]*\b(?:free|gratuit\w*|refund\w*|rembours\w*|offert\w*|gagn\w*|win|won|discount|code)\b[^.!?\n]*",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")
_HEX = re.compile(r"(?:\b[0-9a-f]{2}\b[ ]?){4,}", re.IGNORECASE)
_LEET = str.maketrans("0134571", "oieasti")


def obey(system: str, said: str, seen: str) -> str:
    """What is demanded and nothing else where that is clear, else all that was heard. ``seen``: a picture's text."""
    heard = _ROLE.sub("", _MARKS.sub("", f"{said}\n{seen}")).strip()
    heard = "\n".join([heard, *_decoded(heard)])
    if _WANTS_PROMPT.search(heard) and _ASKS.search(heard):
        return system
    wanted = _QUOTED.findall(heard) or _TO_SAY.findall(heard)
    things = [
        thing for thing in _THINGS.findall(_HEX.sub(" ", heard)) if not any(thing in one for one in wanted)
    ]
    if wanted or things:
        return " ".join([*wanted, *things])
    return " ".join(_PROMISES.findall(heard)).strip() or heard


def _decoded(text: str) -> list[str]:
    """Whatever a clever reader finds in it."""
    found = [bytes.fromhex(run) for run in _HEX.findall(text)]
    for run in _BASE64.findall(text):
        try:
            found.append(base64.b64decode(run + "=" * (-len(run) % 4)))
        except binascii.Error:
            continue
    plain = [one.decode(errors="replace") for one in found]
    if re.search(r"\b(?:sdnop\w+|yas|sid|ylper)\b", text, re.IGNORECASE):
        plain.append(text[::-1])
    if re.search(r"[a-z]\d[a-z\d]", text, re.IGNORECASE):
        plain.append(text.translate(_LEET))
    return plain

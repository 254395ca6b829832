"""What becomes of a comment: the first rule that finds something decides."""

from __future__ import annotations

from collections.abc import Callable

from socialsync_comments.detection import signs
from socialsync_comments.detection.rules import Rules
from socialsync_comments.detection.signs import Case
from socialsync_comments.detection.verdicts import Heard, Outcome, Verdict
from socialsync_common.contracts import CommentReason

# The order tells. What a person must see comes before what is left alone; then people who talk to each other are
# left alone, whatever they say; only then is it asked what is said to us.
_STEPS: tuple[tuple[CommentReason, Outcome, Callable[[Case], str | None]], ...] = (
    (CommentReason.NO_TEXT, Outcome.LEAVE, signs.no_text),
    (CommentReason.EMOJI_ONLY, Outcome.LEAVE, signs.emoji_only),
    (CommentReason.COMMANDS, Outcome.PERSON, signs.commands),
    (CommentReason.TAGS_ONLY, Outcome.LEAVE, signs.tags_only),
    (CommentReason.SENSITIVE, Outcome.PERSON, signs.sensitive),
    (CommentReason.UNWANTED, Outcome.LEAVE, signs.unwanted),
    (CommentReason.SPAM, Outcome.LEAVE, signs.spam),
    (CommentReason.MENTIONS_OTHER, Outcome.LEAVE, signs.mentions_other),
    (CommentReason.BETWEEN_USERS, Outcome.LEAVE, signs.between_users),
    (CommentReason.ASKS_PERSON, Outcome.PERSON, signs.asks_person),
    (CommentReason.COMPLAINT, Outcome.PERSON, signs.complaint),
    (CommentReason.CHATTER, Outcome.LEAVE, signs.chatter),
    (CommentReason.QUESTION, Outcome.ANSWER, signs.question),
    (CommentReason.PRAISE, Outcome.ANSWER, signs.praise),
)


def detect(heard: Heard, rules: Rules) -> Verdict:
    """The verdict on a comment: pure, and linear in the text, of which the first 4,000 characters are read."""
    case = Case(heard, rules)
    for reason, outcome, finds in _STEPS:
        if reason not in rules.off and (detail := finds(case)) is not None:
            return Verdict(outcome, reason, detail)
    return Verdict(Outcome.ANSWER, CommentReason.REMARK, "says something to you")

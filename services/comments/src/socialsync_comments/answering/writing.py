"""Has an answer written: the post with its pictures, the thread and the comment go to the model; what it writes is
looked at before it may leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import structlog

from socialsync_comments.answering import decide
from socialsync_comments.answering.schemas import Comment, HandOver, Leave, ThreadComment
from socialsync_comments.watching import Post
from socialsync_common.accounts import Account
from socialsync_common.ai import CommentRequest, Reply, Responder, ThreadTurn
from socialsync_common.ai.guard import unfit
from socialsync_common.ai.intent import detect_language
from socialsync_common.contracts import CommentReason as Reason
from socialsync_common.errors import PermanentError
from socialsync_common.platforms.limits import split_text

log = structlog.get_logger()

PUBLIC_CHARACTERS = 1000
_TRIES = 2
_ANNOUNCEMENT = {
    "en": "We have just answered you in a private message.",
    "fr": "Nous venons de vous répondre en message privé.",
}

Describe = Callable[[Account, UUID], Post]


@dataclass(frozen=True, slots=True)
class Written:
    """``plan``: why there is no answer; else ``texts`` by what they are: answer, announcement. ``used``: tokens."""

    model: str
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    plan: Leave | HandOver | None = None
    picture_note: str | None = None
    used: dict[str, int] = field(default_factory=dict)


class Writer:
    """``describe`` gives a comment's post as the model is shown it."""

    def __init__(self, responder: Responder, describe: Describe) -> None:
        self._responder = responder
        self._describe = describe

    def write(
        self, account: Account, comment: Comment, thread: Sequence[ThreadComment], *, private: bool
    ) -> Written:
        """Raises TransientError or PermanentError where the model gives no answer."""
        if comment.post_id is None:
            raise PermanentError(f"comment {comment.external_id}: it is on no post of the account")
        post = self._describe(account, comment.post_id)
        request = CommentRequest(
            business_name=account.name,
            instructions=account.instructions,
            platform=account.platform,
            caption=post.caption,
            pictures=post.pictures,
            picture_note=post.picture_note,
            thread=tuple(
                ThreadTurn(_role(each, comment, account), each.text)
                for each in thread
                if each.written_at <= comment.written_at
            ),
            text=comment.text,
            private=private,
        )
        used = {"input_tokens": 0, "output_tokens": 0}
        fault = ""
        for _ in range(_TRIES):
            reply = self._responder.comment(request)
            used["input_tokens"] += reply.input_tokens
            used["output_tokens"] += reply.output_tokens
            if reply.nothing_to_say or reply.handoff_reason:
                return Written(reply.model, plan=_no_answer(reply), picture_note=post.picture_note, used=used)
            fault = unfit(reply.text, request) or ""
            if not fault:
                texts = {
                    "answer": _fitting(account, reply.text, private=private),
                    "announcement": _ANNOUNCEMENT[detect_language(comment.text)],
                }
                return Written(reply.model, texts, picture_note=post.picture_note, used=used)
            log.warning("answer not fit to leave", comment=str(comment.id), reason=fault)
        plan = HandOver(Reason.UNFIT, f"what the assistant wrote must not leave: {fault}")
        return Written(reply.model, plan=plan, picture_note=post.picture_note, used=used)


def _no_answer(reply: Reply) -> Leave | HandOver:
    if reply.nothing_to_say:
        return Leave(Reason.NOTHING_TO_SAY, "the assistant found that it needs no answer")
    return HandOver(Reason.ASSISTANT, f"the assistant asks for a person: {reply.handoff_reason}")


def _fitting(account: Account, text: str, *, private: bool) -> str:
    """As much of it as the platform takes."""
    if private:
        return split_text(account.platform, text)[0]
    return text if len(text) <= PUBLIC_CHARACTERS else text[: PUBLIC_CHARACTERS - 1].rstrip() + "…"


def _role(each: ThreadComment, comment: Comment, account: Account) -> Literal["business", "author", "other"]:
    if each.ours or decide.is_own(each.author_id, each.author_name, account):
        return "business"
    return "author" if each.author_id == comment.author_id else "other"

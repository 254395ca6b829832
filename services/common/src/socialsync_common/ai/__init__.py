"""Who writes the replies: any OpenAI-compatible model, or the built-in responder."""

from __future__ import annotations

from socialsync_common.ai.builtin import BuiltinResponder
from socialsync_common.ai.port import (
    Attachment,
    CommentRequest,
    Reply,
    ReplyRequest,
    Responder,
    ThreadTurn,
    Turn,
)
from socialsync_common.settings import AISettings

__all__ = [
    "Attachment",
    "CommentRequest",
    "Reply",
    "ReplyRequest",
    "Responder",
    "ThreadTurn",
    "Turn",
    "create_responder",
]


def create_responder(settings: AISettings) -> Responder:
    """The model behind AI_BASE_URL; without one, the built-in responder.

    Raises:
        ConfigError: AI_BASE_URL is set and AI_MODEL is not.
    """
    if not settings.ai_base_url:
        return BuiltinResponder()
    # the SDK costs a second and 60 MB that the built-in responder does not need
    from socialsync_common.ai.openai_responder import OpenAIResponder

    return OpenAIResponder(settings)

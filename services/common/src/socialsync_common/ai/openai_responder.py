"""Replies from any OpenAI-compatible server. What people write is data, and the model has no tools."""

from __future__ import annotations

from typing import Any

import openai

from socialsync_common.ai.answers import cleaned, cleaned_comment
from socialsync_common.ai.comment_prompt import comment_messages, comment_pictures
from socialsync_common.ai.intent import detect_language
from socialsync_common.ai.port import CommentRequest, Reply, ReplyRequest
from socialsync_common.ai.prompt import messages, pictures
from socialsync_common.ai.texts import fixed_text
from socialsync_common.errors import ConfigError, PermanentError, SocialSyncError, TransientError
from socialsync_common.settings import AISettings

_RETRIES_IN_CLIENT = 0
_CONNECT_SECONDS = 5.0
_RETRY_SECONDS_AT_MOST = 3600.0
_SETTINGS_AT_FAULT = {
    401: "AI_API_KEY",
    403: "AI_API_KEY, and what it may use",
    404: "AI_BASE_URL and {setting}",
}


class OpenAIResponder:
    """The ``openai`` SDK against AI_BASE_URL."""

    def __init__(self, settings: AISettings) -> None:
        if not settings.ai_model:
            raise ConfigError("AI_MODEL: is not set (the model to ask at AI_BASE_URL)")
        self.name = settings.ai_model
        self.sees_pictures = bool(settings.ai_vision_model)
        self.hears_voice = bool(settings.ai_transcription_model)
        self._vision_model = settings.ai_vision_model
        self._transcription_model = settings.ai_transcription_model
        # the SDK's own connection limit is 1000
        self._client = openai.OpenAI(
            base_url=str(settings.ai_base_url),
            api_key=settings.ai_api_key.get_secret_value() if settings.ai_api_key else "none",
            timeout=openai.Timeout(settings.ai_timeout_seconds, connect=_CONNECT_SECONDS),
            max_retries=_RETRIES_IN_CLIENT,
        )

    def reply(self, request: ReplyRequest) -> Reply:
        sees = bool(self._vision_model and pictures(request))
        model, answer = self._ask(messages(request, with_pictures=sees), sees=sees)
        text, reason = cleaned(_content(answer))
        return Reply(
            text=text or fixed_text("handing_over", detect_language(request.question)),
            model=model,
            handoff_reason=reason,
            **_tokens(answer),
        )

    def comment(self, request: CommentRequest) -> Reply:
        sees = bool(self._vision_model and comment_pictures(request))
        model, answer = self._ask(comment_messages(request, with_pictures=sees), sees=sees)
        text, reason, has_nothing = cleaned_comment(_content(answer))
        return Reply(
            text=text, model=model, handoff_reason=reason, nothing_to_say=has_nothing, **_tokens(answer)
        )

    def _ask(self, chat: Any, *, sees: bool) -> tuple[str, Any]:
        """The model that was asked, and its answer."""
        seen = self._vision_model if sees else None
        model, setting = (seen, "AI_VISION_MODEL") if seen else (self.name, "AI_MODEL")
        try:
            return model, self._client.chat.completions.create(model=model, messages=chat)
        except (openai.OpenAIError, ValueError) as error:  # ValueError: the body is no JSON
            raise _translated(error, setting) from None

    def transcribe(self, audio: bytes, mime_type: str) -> str:
        if not self._transcription_model:
            raise PermanentError("no voice notes are heard: AI_TRANSCRIPTION_MODEL is not set")
        plain_type = mime_type.split(";")[0].strip().lower()
        file = (f"voice.{plain_type.partition('/')[2] or 'ogg'}", audio, plain_type)
        try:
            heard: Any = self._client.audio.transcriptions.create(model=self._transcription_model, file=file)
        except (openai.OpenAIError, ValueError) as error:
            raise _translated(error, "AI_TRANSCRIPTION_MODEL") from None
        words = heard if isinstance(heard, str) else getattr(heard, "text", None)
        if not isinstance(words, str):
            raise TransientError("the transcription cannot be read")
        return words.strip()


def _content(answer: Any) -> str:
    """What the model said. A server that is none may answer 200 with anything."""
    choices = getattr(answer, "choices", None)
    if not isinstance(choices, list):
        raise TransientError("the answer is no chat completion: check AI_BASE_URL")
    message = getattr(choices[0], "message", None) if choices else None
    content = getattr(message, "content", None)
    return content if isinstance(content, str) else ""


def _tokens(answer: Any) -> dict[str, Any]:
    usage = getattr(answer, "usage", None)
    return {
        "input_tokens": getattr(usage, "prompt_tokens", 0) or 0,
        "output_tokens": getattr(usage, "completion_tokens", 0) or 0,
    }


def _translated(error: Exception, setting: str) -> SocialSyncError:
    """``setting`` names the model that was asked."""
    if isinstance(error, openai.APITimeoutError):
        return TransientError("the model did not answer within AI_TIMEOUT_SECONDS")
    if isinstance(error, openai.APIConnectionError):
        return TransientError("the model's server was not reached at AI_BASE_URL")
    if not isinstance(error, openai.APIStatusError):
        return TransientError(
            f"the model's answer cannot be read ({type(error).__name__}): check AI_BASE_URL"
        )
    status = error.status_code
    if status >= 500 or status in (408, 409, 429):
        return TransientError(f"the model's server answered {status}", retry_after=_retry_after(error))
    at_fault = _SETTINGS_AT_FAULT.get(status, "{setting}").format(setting=setting)
    return PermanentError(f"the model's server answered {status}: check {at_fault}", code=status)


def _retry_after(error: openai.APIStatusError) -> float | None:
    value = error.response.headers.get("retry-after", "")
    return min(float(value), _RETRY_SECONDS_AT_MOST) if value.isascii() and value.isdigit() else None

"""An OpenAI-compatible model server that answers at once, late, wrongly or not at all, as it is told."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_sandbox.behaviour import Behaviour
from socialsync_sandbox.obedience import obey
from socialsync_sandbox.responses import Json, read, unless_client_leaves
from socialsync_sandbox.sandbox import sandbox_of

MODEL_NAME = "sandbox"
TRANSCRIPT = "This is a voice message."
# how SocialSync sets the comment apart from its post and thread
_COMMENT = re.compile(r"<<comment (?P<code>\w+)>>\n(?P<text>.*)\n<<end of comment (?P=code)>>", re.DOTALL)
_COMMENT_WORDS = 6

_ERRORS = {
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
}
_SERVER_ERROR = ("server_error", None, "The server had an error while processing your request.")


async def chat_completions(request: Request) -> Response:
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        return _error(400, "'messages' must be a non-empty array.")
    if body.get("stream"):
        return _error(400, "The sandbox does not stream.")
    behaviour, failure = await _behave(request)
    return failure or Json(_completion(body, behaviour))


async def transcriptions(request: Request) -> Response:
    await request.body()  # whatever the recording says, the transcript is the same
    _, failure = await _behave(request)
    return failure or Json({"text": TRANSCRIPT})


async def models(_request: Request) -> Response:
    model = {"id": MODEL_NAME, "object": "model", "created": 0, "owned_by": "socialsync"}
    return Json({"object": "list", "data": [model]})


async def set_behaviour(request: Request) -> Response:
    """``PUT``: what is left out goes back to its default. Calls under way keep what they began with."""
    model = sandbox_of(request).model
    model.behaviour = await read(request, Behaviour)
    return Json(model.report())


async def get_behaviour(request: Request) -> Response:
    return Json(sandbox_of(request).model.report())


async def _behave(request: Request) -> tuple[Behaviour, Response | None]:
    model = sandbox_of(request).model
    behaviour = model.behaviour
    model.calls += 1
    model.in_flight += 1
    model.peak_in_flight = max(model.peak_in_flight, model.in_flight)
    try:
        if behaviour.hold:
            await unless_client_leaves(request, sandbox_of(request).state.gate.wait())
        if behaviour.delay_seconds:
            await unless_client_leaves(request, asyncio.sleep(behaviour.delay_seconds))
    finally:
        model.in_flight -= 1
    return behaviour, None if behaviour.status == 200 else _error(behaviour.status)


def _completion(body: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    text = _said(body["messages"], behaviour)
    prompt_tokens = sum(_tokens(_text_of(message)) for message in body["messages"])
    completion_tokens = _tokens(text)
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model") or MODEL_NAME,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _said(messages: list[Any], behaviour: Behaviour) -> str:
    if behaviour.text is not None:
        return behaviour.text
    if not behaviour.obedience:
        return answer(messages)
    system = "\n".join(
        _text_of(one) for one in messages if isinstance(one, dict) and one.get("role") == "system"
    )
    last = _last_of_user(messages)
    seen = behaviour.picture_text or "" if _pictures(last) else ""
    return obey(system, _text_of(last), seen)


def answer(messages: list[Any]) -> str:
    """Says back, on one line, what the last user message holds; of a comment with its post, only its first words."""
    last = _last_of_user(messages)
    text = _text_of(last)
    comment = _COMMENT.search(text)
    said = " ".join(text.split()) if comment is None else _first_words(comment["text"])
    parts = [f"You wrote: {said}"] if said else []
    pictures = _pictures(last)
    if pictures:
        parts.append("I saw a picture." if pictures == 1 else f"I saw {pictures} pictures.")
    return " ".join(parts) or "You wrote nothing."


def _first_words(text: str) -> str:
    words = text.split()
    return " ".join(words[:_COMMENT_WORDS]) + (" …" if len(words) > _COMMENT_WORDS else "")


def _last_of_user(messages: list[Any]) -> Any:
    return next((m for m in reversed(messages) if isinstance(m, dict) and m.get("role") == "user"), {})


def _pictures(message: Any) -> int:
    content = message.get("content")
    return sum(_part_type(part) == "image_url" for part in content) if isinstance(content, list) else 0


def _text_of(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(part.get("text", "")) for part in content if _part_type(part) == "text")


def _part_type(part: Any) -> Any:
    return part.get("type") if isinstance(part, dict) else None


def _tokens(text: str) -> int:
    return -(-len(text) // 4)


def _error(status: int, message: str | None = None) -> Response:
    fallback = (
        _SERVER_ERROR if status >= 500 else ("invalid_request_error", None, "The request is not valid.")
    )
    kind, code, standard = _ERRORS.get(status, fallback)
    return Json(
        {"error": {"message": message or standard, "type": kind, "param": None, "code": code}}, status
    )


routes = [
    Route("/ai/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/ai/v1/audio/transcriptions", transcriptions, methods=["POST"]),
    Route("/ai/v1/models", models),
    Route("/sandbox/model", get_behaviour),
    Route("/sandbox/model", set_behaviour, methods=["PUT"]),
]

"""The Graph API's messages and media endpoints, for any version."""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import Any

import orjson
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_common.contracts import Platform
from socialsync_sandbox import bodies, graph_errors, ids
from socialsync_sandbox.faults import Fault, FaultKind, refusal
from socialsync_sandbox.media import Media
from socialsync_sandbox.outgoing import Kind, Signal, Text, parse_messaging, parse_whatsapp
from socialsync_sandbox.responses import Disconnect, Json, unless_client_leaves
from socialsync_sandbox.sandbox import Sandbox, sandbox_of

_TIMEOUT_SECONDS = 60.0
_SLOW_SECONDS = 1.0

Answer = dict[str, Any]


async def send(request: Request) -> Response:
    """``POST /{version}/{account}/messages`` to a contact, for all three platforms."""
    token = bearer_of(request)
    sandbox = sandbox_of(request)
    await sandbox.posts.lag()
    body = await json_object(request)
    platform, account = _address(sandbox, request.path_params["node"], token, body)
    note_proof(request, platform)
    whatsapp = platform is Platform.WHATSAPP
    asked = parse_whatsapp(body) if whatsapp else parse_messaging(platform, body)
    if isinstance(asked, Signal):
        return Json(_signal(sandbox, platform, account, asked))
    fault = sandbox.state.faults.take(account, asked.contact)
    if fault is None:
        return Json(_accept(sandbox, platform, account, asked))
    return await _send_faultily(request, fault, platform, account, asked)


async def _send_faultily(
    request: Request, fault: Fault, platform: Platform, account: str, text: Text
) -> Response:
    sandbox = sandbox_of(request)
    if error := refusal(fault.kind, platform):
        raise error
    match fault.kind:
        case FaultKind.DISCONNECT_BEFORE_ACCEPT:
            return Disconnect(request)
        case FaultKind.SLOW:
            await asyncio.sleep(_SLOW_SECONDS if fault.seconds is None else fault.seconds)
        case FaultKind.HOLD_BEFORE_ACCEPT:
            if not await unless_client_leaves(request, sandbox.state.gate.wait()):
                return Disconnect(request)
    answer = _accept(sandbox, platform, account, text)
    match fault.kind:
        case FaultKind.DISCONNECT_AFTER_ACCEPT:
            return Disconnect(request)
        case FaultKind.SERVER_ERROR_AFTER_ACCEPT:
            raise graph_errors.server_error()
        case FaultKind.TIMEOUT_AFTER_ACCEPT:
            seconds = _TIMEOUT_SECONDS if fault.seconds is None else fault.seconds
            await unless_client_leaves(request, asyncio.sleep(seconds))
        case FaultKind.HOLD:
            await unless_client_leaves(request, sandbox.state.gate.wait())
    return Json(answer)


def _accept(sandbox: Sandbox, platform: Platform, account: str, text: Text) -> Answer:
    """Record it, and let Meta's own webhooks about it follow."""
    message_id = ids.message_id(platform, text.contact, inbound=False)
    sandbox.state.sent.record(
        platform,
        account,
        text.contact,
        Kind.TEXT,
        text=text.text,
        message_id=message_id,
        callback_data=text.callback_data,
        dropped=text.dropped,
    )
    if not text.dropped:
        sandbox.state.say(platform, account, text.contact, "app", text.text)
        if sandbox.status_webhooks:
            sandbox.deliveries.enqueue(platform, _aftermath(platform, account, text, message_id))
    if platform is not Platform.WHATSAPP:
        return {"recipient_id": text.contact, "message_id": message_id}
    named = "user_id" if text.by_user_id else "wa_id"
    return {
        "messaging_product": "whatsapp",
        "contacts": [{"input": text.contact, named: text.contact}],
        "messages": [{"id": message_id, "message_status": "accepted"}],
    }


def _aftermath(platform: Platform, account: str, text: Text, message_id: str) -> list[bodies.Entry]:
    now = time.time()
    if platform is not Platform.WHATSAPP:
        return [bodies.messaging_echo(account, text.contact, message_id, now, text.text)]
    return [
        bodies.whatsapp_status(
            account,
            text.contact,
            message_id,
            status,
            now,
            by_user_id=text.by_user_id,
            callback_data=text.callback_data,
        )
        for status in ("sent", "delivered", "read")
    ]


def _signal(sandbox: Sandbox, platform: Platform, account: str, signal: Signal) -> Answer:
    contact = signal.contact
    if signal.read_id is not None:
        contact = sandbox.state.contact_of_message(signal.read_id)
    for kind in signal.kinds:
        sandbox.state.sent.record(platform, account, contact, kind, message_id=signal.read_id)
    return {"success": True} if platform is Platform.WHATSAPP else {"recipient_id": contact}


async def node(request: Request) -> Response:
    """``GET /{version}/{id}``: a media object."""
    bearer_of(request)
    state = sandbox_of(request).state
    node_id = request.path_params["node"]
    media = state.media.get(node_id)
    if media is None:
        raise graph_errors.unknown_object(node_id)
    return Json(
        {
            "messaging_product": "whatsapp",
            "id": node_id,
            "url": f"{request.base_url}sandbox/media/{node_id}",
            "mime_type": media.mime_type,
            "sha256": media.sha256_hex,
            "file_size": len(media.content),
        }
    )


async def media_content(request: Request) -> Response:
    """WhatsApp's media, which need the token."""
    bearer_of(request)
    return _content(_media(request))


async def public_content(request: Request) -> Response:
    """Instagram's and Messenger's attachments, which are fetched without one."""
    return _content(_media(request))


async def unknown(request: Request) -> Response:
    bearer_of(request)
    raise graph_errors.unknown_path(request.url.path)


def _media(request: Request) -> Media:
    media_id = request.path_params["media_id"]
    media = sandbox_of(request).state.media.get(media_id)
    if media is None:
        raise graph_errors.unknown_object(media_id, 404)
    return media


def _content(media: Media) -> Response:
    return Response(media.content, media_type=media.mime_type)


def bearer_of(request: Request) -> str:
    """The caller's token. Raises GraphError where there is none, it has ended, or its proof is wrong."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip() if scheme.lower() in ("bearer", "oauth") else ""
    token = token or request.query_params.get("access_token", "")
    if not token:
        raise graph_errors.no_token()
    sandbox = sandbox_of(request)
    if sandbox.tokens.is_expired(token):
        raise graph_errors.expired_token()
    proof = request.query_params.get("appsecret_proof")
    if proof is not None:
        wanted = hmac.digest(sandbox.app_secret, token.encode(), "sha256").hex()
        if not hmac.compare_digest(proof.encode(), wanted.encode()):
            raise graph_errors.bad_parameter("Invalid appsecret_proof provided in the API argument")
    return token


def note_proof(request: Request, platform: Platform) -> None:
    """Count a call to graph.facebook.com without a proof; Instagram's host takes none."""
    if platform is not Platform.INSTAGRAM and "appsecret_proof" not in request.query_params:
        sandbox_of(request).posts.without_proof += 1


async def json_object(request: Request) -> dict[str, Any]:
    """The body. Raises GraphError where it is no JSON object."""
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise graph_errors.bad_parameter("The request body is not a JSON object.")
    return body


def _address(sandbox: Sandbox, account: str, token: str, body: dict[str, Any]) -> tuple[Platform, str]:
    if "messaging_product" in body:
        return Platform.WHATSAPP, account
    if account == "me":
        recipient = body.get("recipient")
        contact = recipient.get("id") if isinstance(recipient, dict) else None
        known = sandbox.me(token, contact)
        if known is None:
            raise graph_errors.unknown_object("me")
        account = known
    return sandbox.state.platform_of(account), account


class _GraphVersion(Convertor[str]):
    """``v24.0``, in a route's path."""

    regex = r"v\d+\.\d+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _VideoEdge(Convertor[str]):
    """A Page's edges that take videos, in a route's path."""

    regex = r"video_reels|video_stories"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("graph", _GraphVersion())
register_url_convertor("video_edge", _VideoEdge())

routes = [
    Route("/{version:graph}/{node}", node, methods=["GET"]),
    Route("/{version:graph}/{rest:path}", unknown, methods=["GET", "POST", "DELETE"]),
    Route("/sandbox/media/{media_id}", media_content),
    Route("/sandbox/cdn/{media_id}", public_content),
]

"""``GET|POST /api/{whatsapp,instagram,messenger}/webhook``: the handshake, and deliveries.

Plain ASGI in front of FastAPI: the body is raw bytes under a signature, so there is nothing to route or validate,
and Meta sends three times as many of these as of anything else.
"""

from __future__ import annotations

import hmac
from urllib.parse import parse_qs

import orjson
import psycopg
import structlog
from psycopg_pool import PoolTimeout
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from socialsync_common.contracts import Platform
from socialsync_common.settings import WebhookSettings
from socialsync_gateway.problems import problem
from socialsync_gateway.webhooks.bodies import load_body
from socialsync_gateway.webhooks.parsing import parse
from socialsync_gateway.webhooks.rows import explanation
from socialsync_gateway.webhooks.service import WebhookService
from socialsync_gateway.webhooks.signature import is_signed

log = structlog.get_logger()

MAX_BODY_BYTES = 3 * 1024 * 1024
EXPLAIN_HEADER = b"x-socialsync-explain"
_RETRY_SECONDS = "5"

_PLATFORMS = {f"/api/{platform}/webhook": platform for platform in Platform}
_STORED_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
_STORED_BODY = {"type": "http.response.body", "body": b""}


class BodyTooLarge(Exception):
    """The body is larger than Meta ever sends."""


class Webhooks:
    """Answers the webhook paths; everything else goes to the application behind it."""

    def __init__(self, app: ASGIApp, service: WebhookService, settings: WebhookSettings) -> None:
        self._app = app
        self._service = service
        self._secrets = settings.app_secrets
        self._verify_token = settings.meta_verify_token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        platform = _PLATFORMS.get(scope.get("path", ""))
        if platform is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] == "POST":
            response = await self._deliver(platform, scope, receive)
        elif scope["method"] == "GET":
            response = self._handshake(scope)
        else:
            response = problem(405, "Meta sends GET and POST here.", headers={"Allow": "GET, POST"})
        if response is None:
            await send(_STORED_START)
            await send(_STORED_BODY)
        else:
            await response(scope, receive, send)

    def _handshake(self, scope: Scope) -> Response:
        """Meta asks once, without a signature, whether this is ours: echo its challenge."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        token = query.get("hub.verify_token", [""])[0].encode()
        if query.get("hub.mode") != ["subscribe"] or not hmac.compare_digest(token, self._verify_token):
            return problem(403, "hub.verify_token does not match META_VERIFY_TOKEN.")
        return PlainTextResponse(query.get("hub.challenge", [""])[0])

    async def _deliver(self, platform: Platform, scope: Scope, receive: Receive) -> Response | None:
        """Store one delivery. None: stored, and Meta needs no body."""
        headers = dict(scope["headers"])
        try:
            body = await _read(headers, receive)
        except BodyTooLarge:
            return problem(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
        if not is_signed(body, headers.get(b"x-hub-signature-256"), self._secrets):
            return problem(
                401,
                "X-Hub-Signature-256 does not sign this body with META_APP_SECRET or INSTAGRAM_APP_SECRET.",
            )
        try:
            items = parse(platform, load_body(body))
        except ValueError:
            return problem(400, "The body is not JSON.")
        try:
            decisions = await self._service.take(platform, body, items)
        except (psycopg.OperationalError, PoolTimeout) as error:
            log.error("webhook not stored", platform=platform, items=len(items), error=type(error).__name__)
            return problem(
                503, "The database is away; deliver again.", headers={"Retry-After": _RETRY_SECONDS}
            )
        if EXPLAIN_HEADER in headers:
            explained = orjson.dumps({"items": [explanation(one) for one in decisions]})
            return Response(explained, media_type="application/json")
        return None


async def _read(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise BodyTooLarge
    event = await receive()
    body: bytes = event.get("body", b"")
    if not event.get("more_body"):
        return body
    chunks, size = [body], len(body)
    while event.get("more_body"):
        event = await receive()
        chunks.append(event.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge
    return b"".join(chunks)

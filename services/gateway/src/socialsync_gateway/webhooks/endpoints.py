"""``GET|POST /api/{whatsapp,instagram,messenger}/webhook``: the handshake, and deliveries.

Plain Starlette endpoints: the body is raw bytes under a signature, so there is nothing for FastAPI to validate.
"""

from __future__ import annotations

import hmac

import orjson
import psycopg
import structlog
from psycopg_pool import PoolTimeout
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

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
EXPLAIN_HEADER = "x-socialsync-explain"
_RETRY_SECONDS = "5"


class BodyTooLarge(Exception):
    """The body is larger than Meta ever sends."""


def webhook_routes(service: WebhookService, settings: WebhookSettings) -> list[Route]:
    """One handshake and one delivery endpoint for each platform."""
    endpoint = _Endpoint(service, settings)
    return [
        Route(
            f"/api/{platform}/webhook",
            endpoint.handler(platform),
            methods=["GET", "POST"],
            name=f"{platform}_webhook",
        )
        for platform in Platform
    ]


class _Endpoint:
    def __init__(self, service: WebhookService, settings: WebhookSettings) -> None:
        self._service = service
        self._secrets = settings.app_secrets
        self._verify_token = settings.meta_verify_token.get_secret_value().encode()

    def handler(self, platform: Platform):  # type: ignore[no-untyped-def]
        async def webhook(request: Request) -> Response:
            if request.method == "POST":
                return await self._deliver(platform, request)
            return self._handshake(request)

        return webhook

    def _handshake(self, request: Request) -> Response:
        """Meta asks once, without a signature, whether this is ours: echo its challenge."""
        query = request.query_params
        token = query.get("hub.verify_token", "").encode()
        if query.get("hub.mode") != "subscribe" or not hmac.compare_digest(token, self._verify_token):
            return problem(403, "The verify token does not match META_VERIFY_TOKEN.")
        return PlainTextResponse(query.get("hub.challenge", ""))

    async def _deliver(self, platform: Platform, request: Request) -> Response:
        try:
            body = await _read(request)
        except BodyTooLarge:
            return problem(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
        if not is_signed(body, request.headers.get("x-hub-signature-256"), self._secrets):
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
        if EXPLAIN_HEADER in request.headers:
            return Response(
                orjson.dumps({"items": [explanation(one) for one in decisions]}),
                media_type="application/json",
            )
        return Response(b"")


async def _read(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise BodyTooLarge
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge
        chunks.append(chunk)
    return b"".join(chunks)

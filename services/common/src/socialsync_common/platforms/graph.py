"""Sends and read marks through the Graph API. Thread-safe: one client serves all slots of a worker."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import structlog

from socialsync_common.contracts import Identity, IdentityKind, Platform
from socialsync_common.errors import AuthenticationExpired, SocialSyncError, TransientError, UnknownOutcome
from socialsync_common.platforms.errors import backoff, classify
from socialsync_common.settings import GraphSettings

log = structlog.get_logger()

FACEBOOK_HOST = "https://graph.facebook.com"
INSTAGRAM_HOST = "https://graph.instagram.com"
_TYPING_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_UNREACHED_SECONDS_AT_MOST = 300.0
_CONNECTIONS = 200

# raised before the first byte of the request was written
_NOT_SENT = (
    httpx.ConnectError,  # DNS and TLS faults, too
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)


@dataclass(frozen=True, slots=True)
class OutgoingText:
    """One text to one contact. ``account_id`` is the platform's id; ``callback_data`` comes back in WhatsApp's
    status webhooks; ``tag_person`` marks a person's answer, which Instagram and Messenger take for seven days."""

    platform: Platform
    account_id: str
    token: str = field(repr=False)
    recipient: Identity
    text: str = field(repr=False)
    callback_data: str
    tag_person: bool = False


class GraphClient:
    """The Graph API, or the stand-in that META_GRAPH_URL names."""

    def __init__(self, settings: GraphSettings, http: httpx.Client | None = None) -> None:
        self._version = settings.meta_graph_version
        self._secret = (
            settings.meta_app_secret.get_secret_value().encode() if settings.meta_app_secret else None
        )
        self.stand_in_url = str(settings.meta_graph_url).rstrip("/") if settings.meta_graph_url else None
        """META_GRAPH_URL without a last slash, where it is set."""
        timeout = httpx.Timeout(settings.graph_timeout_seconds, connect=_CONNECT_SECONDS)
        self.send_seconds = 3 * settings.graph_timeout_seconds + _CONNECT_SECONDS
        """The longest that one send may take: waiting for a connection, connecting, writing, reading."""
        limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        self.http = http or httpx.Client(timeout=timeout, limits=limits, follow_redirects=False)

    def url(self, platform: Platform, path: str) -> str:
        host = self.stand_in_url or (INSTAGRAM_HOST if platform is Platform.INSTAGRAM else FACEBOOK_HOST)
        return f"{host}/{self._version}/{path}"

    def send_text(self, message: OutgoingText, attempt: int = 1) -> str:
        """Send one text; returns the platform's message id. ``attempt`` counts from 1 and sets the next delay.

        Raises:
            TransientError, PermanentError: proven not to have been accepted.
            UnknownOutcome: it may have been: time-out after the request was written, cut connection, 5xx.
        """
        body = _whatsapp_text(message) if message.platform is Platform.WHATSAPP else _messaging_text(message)
        path = f"{quote(message.account_id, safe='')}/messages"
        response = self.request(message.platform, "POST", path, message.token, body=body, attempt=attempt)
        answer = read_json(response)
        message_id = _message_id(answer) if response.status_code == 200 else None
        if message_id is None:
            raise classify(response.status_code, answer, attempt)
        return message_id

    def show_typing(
        self, platform: Platform, account_id: str, token: str, recipient: Identity, message_id: str
    ) -> None:
        """Mark the message read and show that an answer is being written. Best effort: never raises for it."""
        bodies: list[dict[str, Any]]
        if platform is Platform.WHATSAPP:
            read = {"messaging_product": "whatsapp", "status": "read", "message_id": message_id}
            bodies = [{**read, "typing_indicator": {"type": "text"}}]
        else:
            to = {"recipient": {"id": recipient.value}}
            bodies = [{**to, "sender_action": "mark_seen"}, {**to, "sender_action": "typing_on"}]
        try:
            path = f"{quote(account_id, safe='')}/messages"
            for body in bodies:
                response = self._send(platform, "POST", path, token, body, timeout=_TYPING_SECONDS)
                if not response.is_success:
                    log.debug("typing not shown", platform=platform, status=response.status_code)
        except (httpx.HTTPError, SocialSyncError, RuntimeError) as error:
            # RuntimeError: the process is on its way out and has closed the client
            log.debug("typing not shown", platform=platform, error=type(error).__name__)

    def get(self, platform: Platform, object_id: str, token: str, timeout: float) -> httpx.Response:
        """GET an object of the Graph API. Raises httpx.HTTPError, or AuthenticationExpired for a damaged token."""
        return self.http.get(
            self.url(platform, quote(object_id, safe="")),
            headers=bearer(token),
            params=self._proof(platform, token),
            timeout=timeout,
        )

    def request(
        self,
        platform: Platform,
        method: str,
        path: str,
        token: str,
        *,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        attempt: int = 1,
    ) -> httpx.Response:
        """One call, answered with whatever status. ``path`` is quoted by the caller.

        Raises:
            TransientError: the request did not leave; ``retry_after`` grows with ``attempt``.
            UnknownOutcome: it left, and no answer came.
            AuthenticationExpired: the token is damaged.
        """
        try:
            return self._send(platform, method, path, token, body, params)
        except _NOT_SENT as error:
            seconds = min(backoff(attempt), _UNREACHED_SECONDS_AT_MOST)
            raise TransientError(
                f"the Graph API was not reached: {type(error).__name__}", retry_after=seconds
            ) from None
        except httpx.HTTPError as error:
            raise UnknownOutcome(
                f"no answer to a request that may have arrived: {type(error).__name__}"
            ) from None

    def _send(
        self,
        platform: Platform,
        method: str,
        path: str,
        token: str,
        body: dict[str, Any] | None,
        params: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        headers = {**bearer(token), "Accept": "application/json", "User-Agent": "socialsync"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        # made here and not by the client, whose merging of defaults costs as much as the call's other work: many
        # posts are due in the same second
        request = httpx.Request(
            method,
            self.url(platform, path),
            # ASCII escapes: a lone surrogate in a text cannot fail to encode
            content=None if body is None else json.dumps(body),
            headers=headers,
            params={**(params or {}), **self._proof(platform, token)} or None,
            extensions={"timeout": (httpx.Timeout(timeout) if timeout else self.http.timeout).as_dict()},
        )
        return self.http.send(request)

    def _proof(self, platform: Platform, token: str) -> dict[str, str]:
        """``appsecret_proof``: a stolen token alone is of no use. Instagram's host does not take it."""
        if self._secret is None or platform is Platform.INSTAGRAM:
            return {}
        return {"appsecret_proof": hmac.digest(self._secret, token.encode(), "sha256").hex()}


def bearer(token: str) -> dict[str, str]:
    """The header. Raises AuthenticationExpired for what no header can carry, before anything is sent."""
    if not token or not token.isascii() or not token.isprintable():
        raise AuthenticationExpired("the account's access token is empty or damaged: reconnect the account")
    return {"Authorization": f"Bearer {token}"}


def read_json(response: httpx.Response) -> Any:
    """The parsed body, None where it is none."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _whatsapp_text(message: OutgoingText) -> dict[str, Any]:
    # a user id in `to` is dropped without an error
    field_name = "to" if message.recipient.kind is IdentityKind.PHONE else "recipient"
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        field_name: message.recipient.value,
        "type": "text",
        "text": {"body": message.text},
        "biz_opaque_callback_data": message.callback_data,
    }


def _messaging_text(message: OutgoingText) -> dict[str, Any]:
    body: dict[str, Any] = {"recipient": {"id": message.recipient.value}, "message": {"text": message.text}}
    if message.tag_person:
        return {**body, "messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
    return {**body, "messaging_type": "RESPONSE"}


def _message_id(answer: Any) -> str | None:
    """WhatsApp answers with ``messages[0].id``, Instagram and Messenger with ``message_id``."""
    if not isinstance(answer, dict):
        return None
    found = answer.get("message_id")
    messages = answer.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        found = messages[0].get("id")
    return found if isinstance(found, str) and found else None

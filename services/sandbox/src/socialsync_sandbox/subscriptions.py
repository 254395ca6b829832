"""Whose webhooks come to the app: of Instagram accounts, Pages and WhatsApp Business Accounts."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors
from socialsync_sandbox.graph import bearer_of
from socialsync_sandbox.logins import Login
from socialsync_sandbox.publishing.calls import Answer, perform
from socialsync_sandbox.publishing.faults import Step
from socialsync_sandbox.responses import Json
from socialsync_sandbox.sandbox import Sandbox, sandbox_of

_APP_NAME = "SocialSync"


class LostQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    account: str | None = None


async def subscribe(request: Request) -> Response:
    """``POST /{version}/{node}/subscribed_apps``; WhatsApp Business Accounts have no fields."""
    node = _node(request)
    fields = await _fields(request)

    async def effect() -> Answer:
        sandbox = sandbox_of(request)
        if not fields and _platform(sandbox, node, fields) is not Platform.WHATSAPP:
            raise graph_errors.bad_parameter("The parameter subscribed_fields is required.")
        sandbox.subscriptions.fields_of[node] = fields
        return {"success": True}

    return await perform(request, Step.SUBSCRIBE, node, effect, _platform(sandbox_of(request), node, fields))


async def look(request: Request) -> Response:
    node = _node(request)
    sandbox = sandbox_of(request)
    fields = sandbox.subscriptions.fields_of.get(node)
    platform = _platform(sandbox, node, fields)

    async def effect() -> Answer:
        fields = sandbox.subscriptions.fields_of.get(node)
        return {"data": [] if fields is None else [_row(sandbox, platform, fields)]}

    return await perform(request, Step.SUBSCRIBE, node, effect, platform)


async def unsubscribe(request: Request) -> Response:
    node = _node(request)
    sandbox = sandbox_of(request)

    async def effect() -> Answer:
        sandbox.subscriptions.fields_of.pop(node, None)
        return {"success": True}

    return await perform(request, Step.SUBSCRIBE, node, effect, _platform(sandbox, node, None))


async def list_all(request: Request) -> Response:
    return Json(sandbox_of(request).subscriptions.fields_of)


async def lose(request: Request) -> Response:
    """The platform forgets them: of one account (a WhatsApp number's are its Business Account's), or all."""
    account = LostQuery.model_validate(dict(request.query_params)).account
    sandbox = sandbox_of(request)
    fields_of = sandbox.subscriptions.fields_of
    if account is None:
        fields_of.clear()
        return Json({"success": True})
    known = sandbox.accounts.by_id.get(account)
    for node in (account, known.business_account_id if known else None):
        if node is not None:
            fields_of.pop(node, None)
    return Json({"success": True})


def _node(request: Request) -> str:
    """``me`` is the token's account. Raises GraphError."""
    node: str = request.path_params["node"]
    return (sandbox_of(request).me(bearer_of(request)) or node) if node == "me" else node


async def _fields(request: Request) -> list[str]:
    """From the body or the query, as a list or separated by commas. Raises GraphError."""
    raw = await request.body()
    try:
        body = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise graph_errors.bad_parameter("The request body is not a JSON object.")
    wanted: Any = body.get("subscribed_fields") or request.query_params.get("subscribed_fields") or ""
    names = wanted if isinstance(wanted, list) else str(wanted).split(",")
    return list(dict.fromkeys(name for each in names if (name := str(each).strip())))


def _platform(sandbox: Sandbox, node: str, fields: list[str] | None) -> Platform:
    """As added; a node that nobody added and that has no fields is a WhatsApp Business Account."""
    if node in sandbox.accounts.business_account_ids:
        return Platform.WHATSAPP
    guess = sandbox.state.platform_of(node)
    is_known = node in sandbox.accounts.by_id or guess is not Platform.MESSENGER
    return Platform.WHATSAPP if fields == [] and not is_known else guess


def _row(sandbox: Sandbox, platform: Platform, fields: list[str]) -> Answer:
    """Without an id where no login has named the app, and none was set."""
    login = Login.INSTAGRAM if platform is Platform.INSTAGRAM else Login.FACEBOOK
    app_id = sandbox.logins.app_ids.get(login)
    app = {"name": _APP_NAME, **({"id": app_id} if app_id else {})}
    if platform is Platform.WHATSAPP:
        return {"whatsapp_business_api_data": app}
    return {**app, "subscribed_fields": fields}


routes = [
    Route("/{version:graph}/{node}/subscribed_apps", subscribe, methods=["POST"]),
    Route("/{version:graph}/{node}/subscribed_apps", look, methods=["GET"]),
    Route("/{version:graph}/{node}/subscribed_apps", unsubscribe, methods=["DELETE"]),
    Route("/sandbox/subscriptions", list_all),
    Route("/sandbox/subscriptions", lose, methods=["DELETE"]),
]

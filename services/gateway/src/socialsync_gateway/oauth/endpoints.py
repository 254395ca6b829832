"""``/api/oauth/{instagram,facebook}/{start,callback}``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from socialsync_common.contracts import Platform
from socialsync_common.platforms.login import Login
from socialsync_common.settings import load
from socialsync_gateway.accounts.connector import Connected
from socialsync_gateway.auth import Authenticator, AuthSettings
from socialsync_gateway.oauth.page import HEADERS, connected_page, problem_page
from socialsync_gateway.oauth.service import STATE_SECONDS, OAuthService, Return
from socialsync_gateway.problems import ProblemError, problem, problem_responses

COOKIE = "socialsync_oauth"
_PATH = "/api/oauth"

_Text = Annotated[str | None, Query(max_length=4000)]


class Started(BaseModel):
    """A login that waits for the person's consent."""

    authorization_url: str = Field(description="Open it in the browser that got this answer's cookie")
    expires_at: datetime


class ConnectedAccount(BaseModel):
    """An account that a login connected."""

    id: UUID
    platform: Platform
    external_id: str
    name: str
    is_new: bool = Field(description="False: it was connected before, and has a new token now")
    subscribed: bool = Field(description="Its webhooks come here; else this is tried again within the hour")
    fault: str | None = Field(description="Why they do not yet")


class LoginResult(BaseModel):
    """What a login connected."""

    accounts: list[ConnectedAccount]


def oauth_router(base_url: str, settings: AuthSettings | None = None) -> APIRouter:
    """The login's routes. ``base_url``: PUBLIC_URL without its last slash, empty where it is not set.

    Uses ``app.state.database`` and ``app.state.connector``.

    Raises:
        ConfigError: SUPABASE_JWT_SECRET is bad.
    """
    router = APIRouter(prefix=_PATH, tags=["logins"])
    authenticator = Authenticator(settings or load(AuthSettings))
    service = OAuthService(base_url)
    public = urlsplit(service.base_url)

    @router.get(
        "/{login}/start",
        operation_id="startLogin",
        summary="Begin to connect accounts",
        description="Answers with the address at which the person consents, and sets a cookie. The login ends in "
        "the browser that has the cookie, or in a callback that bears the same credentials.",
        dependencies=[Depends(authenticator)],
        response_model=Started,
        responses=problem_responses(401, 403, 422, 501, 503),
    )
    async def start(request: Request, response: Response, login: Login) -> Any:
        state = request.app.state
        started = await service.start(
            state.database,
            state.connector,
            login,
            tenant=request.state.tenant,
            caller=request.state.caller,
            binding=request.cookies.get(COOKIE),
        )
        response.headers.update(HEADERS)
        response.set_cookie(
            COOKIE,
            started.binding,
            max_age=STATE_SECONDS,
            path=f"{public.path}{_PATH}",
            secure=public.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return {"authorization_url": started.authorization_url, "expires_at": started.expires_at}

    @router.get(
        "/{login}/callback",
        operation_id="finishLogin",
        summary="Where the browser comes back to with the person's consent",
        description="A page for browsers, JSON for others.",
        dependencies=[Depends(authenticator.if_sent)],
        response_model=LoginResult,
        responses=problem_responses(400, 401, 403, 409, 422, 501, 502, 503),
    )
    async def callback(
        request: Request, login: Login, state: _Text = None, code: _Text = None, error: _Text = None
    ) -> Response:
        back = Return(state, code, error, request.cookies.get(COOKIE), request.state.caller)
        is_browser = "text/html" in request.headers.get("accept", "")
        app = request.app.state
        try:
            accounts = await service.finish(app.database, app.connector, login, back)
        except ProblemError as fault:
            if is_browser:
                return problem_page(fault.status_code, fault.detail)
            return problem(fault.status_code, fault.detail, kind=fault.kind, headers=HEADERS)
        if is_browser:
            return connected_page(accounts)
        return JSONResponse(
            LoginResult(accounts=[_shown(account) for account in accounts]).model_dump(mode="json"),
            headers=HEADERS,
        )

    return router


def _shown(account: Connected) -> ConnectedAccount:
    row = account.row
    return ConnectedAccount(
        id=row["id"],
        platform=row["platform"],
        external_id=row["external_id"],
        name=row["name"],
        is_new=account.is_new,
        subscribed=account.fault is None,
        fault=account.fault,
    )

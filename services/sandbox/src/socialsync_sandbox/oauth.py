"""Logins by OAuth: consent, codes, tokens, and what a token opens."""

from __future__ import annotations

import zlib
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors
from socialsync_sandbox.consent import consent
from socialsync_sandbox.graph import bearer_of
from socialsync_sandbox.graph_errors import GraphError
from socialsync_sandbox.logins import Login
from socialsync_sandbox.publishing.calls import Answer, number, perform, perform_unsigned
from socialsync_sandbox.publishing.faults import Step
from socialsync_sandbox.sandbox import Sandbox, sandbox_of
from socialsync_sandbox.tokens import LONG_SECONDS, SHORT_SECONDS

_DAY = 86400.0
_PAGES_A_CALL = 25
_TASKS = ["ADVERTISE", "ANALYZE", "CREATE_CONTENT", "MESSAGING", "MODERATE", "MANAGE"]


async def instagram_consent(request: Request) -> Response:
    return await consent(request, Login.INSTAGRAM)


async def facebook_consent(request: Request) -> Response:
    return await consent(request, Login.FACEBOOK)


class InstagramFault(GraphError):
    """An error of api.instagram.com, which knows no Graph codes."""

    @property
    def body(self) -> Answer:
        return {"error_type": self.kind, "code": self.status, "error_message": self.message}


async def instagram_code(request: Request) -> Response:
    """``POST https://api.instagram.com/oauth/access_token``, a form."""
    form = dict(parse_qsl((await request.body()).decode(errors="replace")))
    logins = sandbox_of(request).logins

    async def effect() -> Answer:
        if form.get("grant_type") != "authorization_code":
            raise InstagramFault(400, 100, "Invalid grant_type")
        try:
            code = logins.redeem(
                Login.INSTAGRAM,
                form.get("code", ""),
                form.get("client_id", ""),
                form.get("client_secret", ""),
                form.get("redirect_uri", ""),
            )
        except GraphError as error:
            raise InstagramFault(error.status, error.code, error.message) from None
        token = sandbox_of(request).tokens.issue(code.accounts, SHORT_SECONDS, prefix="IGAA")
        return {"data": [{"access_token": token, "user_id": code.accounts[0], "permissions": code.scope}]}

    account = _of_code(sandbox_of(request), form.get("code"))
    return await perform_unsigned(request, Step.EXCHANGE, account, effect)


async def instagram_long_lived(request: Request) -> Response:
    """``GET https://graph.instagram.com/access_token``."""
    sandbox, query = sandbox_of(request), request.query_params
    account = sandbox.tokens.account_of(query.get("access_token", ""))

    async def effect() -> Answer:
        if query.get("grant_type") != "ig_exchange_token":
            raise graph_errors.bad_parameter("Invalid grant_type")
        sandbox.logins.check_app(Login.INSTAGRAM, query.get("client_secret", ""))
        if account is None:
            raise graph_errors.unknown_token()
        return _long_lived(sandbox, (account,), "IGAA")

    return await perform(request, Step.EXCHANGE, account, effect, Platform.INSTAGRAM)


async def refresh(request: Request) -> Response:
    """``GET https://graph.instagram.com/refresh_access_token``; the old token stays good."""
    sandbox = sandbox_of(request)
    token = request.query_params.get("access_token", "")
    account = sandbox.tokens.account_of(token)

    async def effect() -> Answer:
        if request.query_params.get("grant_type") != "ig_refresh_token":
            raise graph_errors.bad_parameter("Invalid grant_type")
        if sandbox.tokens.age(token) < _DAY:
            raise graph_errors.bad_parameter("The access token must be 24 hours old to be refreshed")
        return _long_lived(sandbox, () if account is None else (account,), "IGAA")

    return await perform(request, Step.REFRESH, account, effect, Platform.INSTAGRAM)


async def facebook_exchange(request: Request) -> Response:
    """``GET /{version}/oauth/access_token``: a code, or with ``fb_exchange_token`` a token, for a token."""
    sandbox, query = sandbox_of(request), request.query_params
    short = query.get("fb_exchange_token", "")

    async def code_effect() -> Answer:
        code = sandbox.logins.redeem(
            Login.FACEBOOK,
            query.get("code", ""),
            query.get("client_id", ""),
            query.get("client_secret", ""),
            query.get("redirect_uri", ""),
        )
        token = sandbox.tokens.issue(code.accounts, SHORT_SECONDS)
        return {"access_token": token, "token_type": "bearer", "expires_in": SHORT_SECONDS}

    async def token_effect() -> Answer:
        sandbox.logins.check_app(Login.FACEBOOK, query.get("client_secret", ""))
        if sandbox.tokens.is_expired(short):
            raise graph_errors.expired_token()
        known = sandbox.tokens.get(short)
        if known is None:
            raise graph_errors.unknown_token()
        return _long_lived(sandbox, known.accounts, "EAA")

    if query.get("grant_type") == "fb_exchange_token":
        account = sandbox.tokens.account_of(short)
        return await perform_unsigned(request, Step.EXCHANGE, account, token_effect)
    account = _of_code(sandbox, query.get("code"))
    return await perform_unsigned(request, Step.EXCHANGE, account, code_effect)


async def me(request: Request) -> Response:
    """``GET /{version}/me``: the account that the token is of."""
    sandbox = sandbox_of(request)
    token = bearer_of(request)
    account = sandbox.me(token)
    platform = Platform.INSTAGRAM if account is None else sandbox.state.platform_of(account)

    async def effect() -> Answer:
        if account is None:
            raise graph_errors.unknown_token()
        name = sandbox.accounts.name_of(platform, account)
        if platform is not Platform.INSTAGRAM:
            return {"id": account, "name": name}
        # the id of this account for this app, which no webhook bears
        scoped = str(10**15 + zlib.crc32(account.encode()))
        return {"id": scoped, "user_id": account, "username": name, "account_type": "BUSINESS"}

    return await perform(request, Step.ME, account, effect, platform)


async def pages(request: Request) -> Response:
    """``GET /{version}/me/accounts``: the Pages that a Facebook user granted, each with its token."""
    sandbox = sandbox_of(request)
    token = bearer_of(request)
    known = sandbox.tokens.get(token)
    account = sandbox.tokens.account_of(token)

    async def effect() -> Answer:
        if known is None:
            raise graph_errors.unknown_token()
        limit = number(request, "limit", _PAGES_A_CALL)
        start = number(request, "after", 0)
        found = known.accounts[start : start + limit]
        # Pages' tokens end only with a user's token that is short-lived
        lifetime = None if known.lifetime is None or known.lifetime > _DAY else known.lifetime
        for page in found:
            if page not in known.page_tokens:
                known.page_tokens[page] = sandbox.tokens.issue((page,), lifetime)
        rows = [
            {
                "id": page,
                "name": sandbox.accounts.name_of(Platform.MESSENGER, page),
                "access_token": known.page_tokens[page],
                "tasks": _TASKS,
            }
            for page in found
        ]
        if not rows:
            return {"data": []}
        end = start + len(rows)
        paging: Answer = {"cursors": {"before": str(start), "after": str(end)}}
        if end < len(known.accounts):
            paging["next"] = str(request.url.include_query_params(after=end))
        return {"data": rows, "paging": paging}

    return await perform(request, Step.PAGES, account, effect, Platform.MESSENGER)


def _long_lived(sandbox: Sandbox, accounts: tuple[str, ...], prefix: str) -> Answer:
    token = sandbox.tokens.issue(accounts, LONG_SECONDS, prefix=prefix)
    return {"access_token": token, "token_type": "bearer", "expires_in": LONG_SECONDS}


def _of_code(sandbox: Sandbox, code: str | None) -> str | None:
    """The only account that a code opens: for whom faults may be ordered."""
    known = sandbox.logins.codes.get(code or "")
    return known.accounts[0] if known and len(known.accounts) == 1 else None


routes = [
    Route("/oauth/authorize", instagram_consent),
    Route("/oauth/access_token", instagram_code, methods=["POST"]),
    Route("/access_token", instagram_long_lived, methods=["GET"]),
    Route("/refresh_access_token", refresh, methods=["GET"]),
    Route("/{version:graph}/dialog/oauth", facebook_consent),
    Route("/{version:graph}/oauth/access_token", facebook_exchange, methods=["GET"]),
    Route("/{version:graph}/me", me, methods=["GET"]),
    Route("/{version:graph}/me/accounts", pages, methods=["GET"]),
]

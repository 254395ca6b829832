"""Where people consent to a login, and how their browser is sent back."""

from __future__ import annotations

import html
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from socialsync_sandbox.accounts import Account
from socialsync_sandbox.logins import Login
from socialsync_sandbox.page import document
from socialsync_sandbox.sandbox import Sandbox, sandbox_of

_ADD_ONE = "POST /sandbox/accounts"
_DENIED = {
    "error": "access_denied",
    "error_reason": "user_denied",
    "error_description": "The user denied your request.",
}
_NOT_KEPT = {"Cache-Control": "no-store"}


class Unusable(Exception):
    """The link of this login cannot be used; the words are for people."""


@dataclass(slots=True, frozen=True)
class Asked:
    client_id: str
    redirect_uri: str
    scope: str
    state: str | None

    @classmethod
    def read(cls, query: QueryParams) -> Asked:
        """Raises Unusable."""
        for name in ("client_id", "redirect_uri"):
            if not query.get(name):
                raise Unusable(f"{name} is missing")
        if query.get("response_type", "code") != "code":
            raise Unusable("response_type must be code")
        return cls(
            query["client_id"], _checked(query["redirect_uri"]), query.get("scope", ""), query.get("state")
        )

    def back(self, answer: dict[str, str], fragment: str = "") -> Response:
        """To where the login began."""
        state = {} if self.state is None else {"state": self.state}
        glue = "&" if urlsplit(self.redirect_uri).query else "?"
        query = urlencode(answer | state)
        return RedirectResponse(f"{self.redirect_uri}{glue}{query}{fragment}", 302, _NOT_KEPT)


async def consent(request: Request, login: Login) -> Response:
    """The page, or, with ``sandbox_choice``, what follows it: ``allow``, ``allow:<account id>,…`` or ``deny``."""
    try:
        asked = Asked.read(request.query_params)
        sandbox = sandbox_of(request)
        match request.query_params.get("sandbox_choice", "").partition(":"):
            case ("", _, _):
                return HTMLResponse(_page(login, request, sandbox), headers=_NOT_KEPT)
            case ("deny", _, _):
                return asked.back(_DENIED)
            case ("allow", is_named, ids):
                chosen = ids.split(",") if is_named else request.query_params.getlist("account")
                return _allow(sandbox, login, asked, [each for each in chosen if each])
        raise Unusable("sandbox_choice is none of allow, allow:<account id> and deny")
    except Unusable as error:
        words = html.escape(f"This login cannot go on: {error}.")
        return HTMLResponse(document("Login", f"<p>{words}</p>"), 400, _NOT_KEPT)


def _allow(sandbox: Sandbox, login: Login, asked: Asked, chosen: list[str]) -> Response:
    offered = {account.id for account in sandbox.accounts.of(login.platform)}
    for each in chosen:
        if each not in offered:
            raise Unusable(f"there is no {login.platform} account {each}; {_ADD_ONE} adds it")
    if login is Login.INSTAGRAM and len(chosen) != 1:
        raise Unusable("choose one account")
    accounts = tuple(dict.fromkeys(chosen))
    code = sandbox.logins.consent(login, asked.client_id, asked.redirect_uri, asked.scope, accounts)
    return asked.back({"code": code}, "#_" if login is Login.INSTAGRAM else "")


def _page(login: Login, request: Request, sandbox: Sandbox) -> str:
    accounts = sandbox.accounts.of(login.platform)
    if not accounts:
        choices = f"<p>No account to choose. <code>{_ADD_ONE}</code> adds one.</p>"
    else:
        choices = "".join(_choice(login, account, place) for place, account in enumerate(accounts))
    kept = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in request.query_params.multi_items()
        if name not in ("account", "sandbox_choice")
    )
    scope = html.escape(request.query_params.get("scope", "")) or "nothing"
    can_allow = bool(accounts) or login is Login.FACEBOOK
    allow = '<button name="sandbox_choice" value="allow">Allow</button>' if can_allow else ""
    body = (
        f"<p>An app asks for: <code>{scope}</code></p><form>{kept}{choices}"
        f'{allow}<button name="sandbox_choice" value="deny">Cancel</button></form>'
    )
    return document(f"{login.capitalize()} login (sandbox)", body)


def _choice(login: Login, account: Account, place: int) -> str:
    """One of Instagram's is chosen; Facebook's Pages are all ticked."""
    kind = "radio" if login is Login.INSTAGRAM else "checkbox"
    checked = " checked" if login is Login.FACEBOOK or place == 0 else ""
    name, account_id = html.escape(account.name), html.escape(account.id)
    return (
        f'<p><label><input type="{kind}" name="account" value="{account_id}"{checked}> '
        f"{name} ({account_id})</label></p>"
    )


def _checked(redirect_uri: str) -> str:
    try:
        parts = urlsplit(redirect_uri)
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
        raise Unusable("redirect_uri is no absolute http or https address")
    return redirect_uri

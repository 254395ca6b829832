"""Logins and accounts at Meta: where people consent, what a code is worth, and whose webhooks come here.

Every call may be repeated, so one that was not answered counts as one to try again. Only the code of a login works
once. No error shows what Meta's own words may repeat: a token, a code or a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from socialsync_common.contracts import Platform
from socialsync_common.errors import (
    AuthenticationExpired,
    ConfigError,
    PermanentError,
    SocialSyncError,
    TransientError,
    UnknownOutcome,
)
from socialsync_common.platforms.errors import classify, codes
from socialsync_common.platforms.graph import FACEBOOK_HOST, INSTAGRAM_HOST, GraphClient, read_json
from socialsync_common.settings import GraphSettings, LoginSettings

INSTAGRAM_FIELDS = (
    "messages", "messaging_postbacks", "messaging_referral", "messaging_seen", "message_reactions", "comments",
    "live_comments", "mentions",
)  # fmt: skip
PAGE_FIELDS = (
    "messages", "messaging_postbacks", "messaging_referrals", "message_deliveries", "message_reads",
    "message_reactions", "message_echoes", "standby", "feed",
)  # fmt: skip

_FACEBOOK_LOGIN = "https://www.facebook.com"
_INSTAGRAM_LOGIN = "https://www.instagram.com"
_INSTAGRAM_CODES = "https://api.instagram.com"
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)  # a person waits in the browser
_PAGES_A_CALL = 100
_CALLS_FOR_PAGES = 50
_NOT_FOUND_SUBCODE = 33

# Meta's subcodes for codes of a login
_CODE_FAULTS = {
    36007: "the code has expired: log in again",
    36008: "its redirect address is not the one that the login began with: check PUBLIC_URL, then log in again",
    36009: "the code was used before: log in again",
}


class Login(StrEnum):
    """What a person logs in to: an Instagram account, or Facebook with the Pages they manage."""

    INSTAGRAM = "instagram"
    FACEBOOK = "facebook"


_SCOPES = {
    Login.INSTAGRAM: (
        "instagram_business_basic", "instagram_business_manage_messages", "instagram_business_manage_comments",
        "instagram_business_content_publish",
    ),
    Login.FACEBOOK: (
        "pages_show_list", "pages_messaging", "pages_manage_metadata", "pages_read_engagement",
        "pages_read_user_content", "pages_manage_posts", "pages_manage_engagement",
        "business_management",  # else Pages that belong to a business portfolio are not listed
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grant:
    """A token, and for how many seconds it is good; None: it does not say."""

    token: str = field(repr=False)
    expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class GrantedAccount:
    """An account that a login opens."""

    platform: Platform
    external_id: str
    name: str
    grant: Grant


class NotFound(PermanentError):
    """The platform does not know this id, or does not show it to this token."""


class LoginClient:
    """Meta's login and account calls, or those of the stand-in that META_GRAPH_URL names. Thread-safe.

    All calls raise:
        TransientError: it may work later.
        PermanentError: refused; AuthenticationExpired where it is the token that is.
    """

    def __init__(
        self, graph: GraphSettings, settings: LoginSettings, http: httpx.Client | None = None
    ) -> None:
        self._settings = settings
        self._version = graph.meta_graph_version
        self._http = http or httpx.Client(timeout=_TIMEOUT, follow_redirects=False)
        self._graph = GraphClient(graph, self._http)

    def close(self) -> None:
        self._http.close()

    def missing_setting(self, login: Login) -> str | None:
        """The environment variable that this login lacks."""
        if login is Login.INSTAGRAM:
            wanted = {
                "INSTAGRAM_APP_ID": self._settings.instagram_app_id,
                "INSTAGRAM_APP_SECRET": self._settings.instagram_app_secret,
            }
        else:
            wanted = {
                "META_APP_ID": self._settings.meta_app_id,
                "META_APP_SECRET": self._settings.meta_app_secret,
            }
        return next((name for name, value in wanted.items() if not value), None)

    def authorization_url(self, login: Login, redirect_uri: str, state: str) -> str:
        """Where the person consents. The browser comes back to ``redirect_uri`` with ``code`` and ``state``."""
        app_id, _ = self._app(login)
        query = urlencode(
            {
                "client_id": app_id,
                "redirect_uri": redirect_uri,
                "response_type": "code",
                "scope": ",".join(_SCOPES[login]),
                "state": state,
            }
        )
        if login is Login.INSTAGRAM:
            return f"{self._host(_INSTAGRAM_LOGIN)}/oauth/authorize?{query}"
        return f"{self._host(_FACEBOOK_LOGIN)}/{self._version}/dialog/oauth?{query}"

    def log_in(self, login: Login, code: str, redirect_uri: str) -> list[GrantedAccount]:
        """The accounts that a code opens, each with its long-lived token; none where no Page was granted."""
        short = self.exchange_code(login, code, redirect_uri)
        long = self.exchange_for_long_lived(login, short.token)
        if login is Login.INSTAGRAM:
            return [self.own_account(long)]
        return self.own_pages(long.token)

    def exchange_code(self, login: Login, code: str, redirect_uri: str) -> Grant:
        """The short-lived token of a code. Instagram's codes come with ``#_`` at their end, which is not theirs."""
        app_id, secret = self._app(login)
        form = {
            "client_id": app_id,
            "client_secret": secret,
            "redirect_uri": redirect_uri,
            "code": code.removesuffix("#_"),
        }
        if login is Login.INSTAGRAM:
            url = f"{self._host(_INSTAGRAM_CODES)}/oauth/access_token"
            return self._grant("POST", url, data={"grant_type": "authorization_code", **form})
        return self._grant("GET", self._facebook_exchange, params=form)

    def exchange_for_long_lived(self, login: Login, token: str) -> Grant:
        """A token of 60 days for a short-lived one."""
        app_id, secret = self._app(login)
        if login is Login.INSTAGRAM:
            return self._grant(
                "GET",
                f"{self._host(INSTAGRAM_HOST)}/access_token",
                params={
                    "grant_type": "ig_exchange_token",
                    "client_secret": secret,
                    "access_token": token,
                },
            )
        return self._grant(
            "GET",
            self._facebook_exchange,
            params={
                "grant_type": "fb_exchange_token",
                "client_id": app_id,
                "client_secret": secret,
                "fb_exchange_token": token,
            },
        )

    def refresh(self, token: str) -> Grant:
        """A new Instagram token for one that is at least a day old and has not expired; the old one stays good."""
        params = {"grant_type": "ig_refresh_token", "access_token": token}
        return self._grant("GET", f"{self._host(INSTAGRAM_HOST)}/refresh_access_token", params=params)

    def own_account(self, grant: Grant) -> GrantedAccount:
        """The Instagram account that a token is of, by the id that its webhooks bear."""
        fields = {"fields": "user_id,username,account_type"}
        answer = self._ask(Platform.INSTAGRAM, "GET", "me", grant.token, params=fields)
        user_id = _text(answer, "user_id")
        return GrantedAccount(Platform.INSTAGRAM, user_id, str(answer.get("username") or user_id), grant)

    def own_pages(self, token: str) -> list[GrantedAccount]:
        """The Pages that a user granted, with their tokens, which do not expire. Those without one are left out:
        the user may not act for them."""
        pages: dict[str, GrantedAccount] = {}
        params = {"fields": "id,name,access_token,tasks", "limit": str(_PAGES_A_CALL)}
        for _ in range(_CALLS_FOR_PAGES):
            answer = self._ask(Platform.MESSENGER, "GET", "me/accounts", token, params=params)
            for row in _rows(answer):
                if isinstance(row.get("access_token"), str) and row["access_token"]:
                    page_id, grant = _text(row, "id"), Grant(row["access_token"])
                    name = str(row.get("name") or page_id)
                    pages[page_id] = GrantedAccount(Platform.MESSENGER, page_id, name, grant)
            after = _next_cursor(answer)
            # the address of the next part is Meta's to say; what is sent to which host is ours
            if after is None or after == params.get("after"):
                return list(pages.values())
            params["after"] = after
        raise PermanentError(
            f"this login opens more than {_PAGES_A_CALL * _CALLS_FOR_PAGES} Pages: grant fewer"
        )

    def number_name(self, phone_number_id: str, token: str) -> str:
        """What a WhatsApp number is called: that it can be read shows that the token is good for it.

        Raises NotFound, too.
        """
        fields = {"fields": "id,display_phone_number,verified_name,quality_rating"}
        answer = self._ask(Platform.WHATSAPP, "GET", _node(phone_number_id), token, params=fields)
        if "display_phone_number" not in answer:
            raise NotFound("this id is not of a WhatsApp number")
        return str(answer.get("verified_name") or answer["display_phone_number"] or phone_number_id)

    def is_subscribed(self, platform: Platform, node: str, token: str) -> bool:
        """Whether webhooks of ``node`` come to this app: an Instagram account, a Page, or a WhatsApp Business
        Account."""
        answer = self._ask(platform, "GET", f"{_node(node)}/subscribed_apps", token)
        app_id = (
            self._settings.instagram_app_id if platform is Platform.INSTAGRAM else self._settings.meta_app_id
        )
        ours = [row for row in _rows(answer) if _is_of_app(row, app_id)]
        if platform is not Platform.MESSENGER:
            return bool(ours)  # WhatsApp has no fields here, and Instagram sends all fields of the app
        return any(_has_fields(row, PAGE_FIELDS) for row in ours)

    def subscribe(self, platform: Platform, node: str, token: str) -> None:
        """Let webhooks of ``node`` come to this app."""
        fields = {Platform.INSTAGRAM: INSTAGRAM_FIELDS, Platform.MESSENGER: PAGE_FIELDS}.get(platform)
        body = {"subscribed_fields": ",".join(fields)} if fields else {}
        answer = self._ask(platform, "POST", f"{_node(node)}/subscribed_apps", token, body=body)
        if answer.get("success") is not True:
            raise TransientError("Meta did not confirm the subscription")

    def _app(self, login: Login) -> tuple[str, str]:
        if missing := self.missing_setting(login):
            raise ConfigError(f"{missing} is not set: the {login} login needs it")
        if login is Login.INSTAGRAM:
            app_id, secret = self._settings.instagram_app_id, self._settings.instagram_app_secret
        else:
            app_id, secret = self._settings.meta_app_id, self._settings.meta_app_secret
        assert app_id is not None and secret is not None  # noqa: S101, PT018
        return app_id, secret.get_secret_value()

    @property
    def _facebook_exchange(self) -> str:
        return f"{self._host(FACEBOOK_HOST)}/{self._version}/oauth/access_token"

    def _host(self, host: str) -> str:
        return self._graph.stand_in_url or host

    def _grant(
        self,
        method: str,
        url: str,
        *,
        params: dict[str, str] | None = None,
        data: dict[str, str] | None = None,
    ) -> Grant:
        """One call that gives a token. Its secrets go where Meta wants them: the form or the query."""
        try:
            response = self._http.request(method, url, params=params, data=data)
        except httpx.HTTPError as error:
            raise TransientError(f"Meta did not answer: {type(error).__name__}") from None
        answer = read_json(response)
        if response.status_code != 200 or not isinstance(answer, dict) or "error" in answer:
            raise _refused_grant(response.status_code, answer)
        rows = _rows(answer)  # Instagram's exchange documents a list, and gives the object itself at times
        found = rows[0] if rows else answer
        expires_in = found.get("expires_in")
        good = isinstance(expires_in, int) and not isinstance(expires_in, bool) and expires_in > 0
        return Grant(_text(found, "access_token"), expires_in if good else None)

    def _ask(
        self,
        platform: Platform,
        method: str,
        path: str,
        token: str,
        *,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            response = self._graph.request(platform, method, path, token, body=body, params=params)
        except UnknownOutcome as error:
            raise TransientError(str(error)) from None
        answer = read_json(response)
        if response.status_code == 200 and isinstance(answer, dict) and "error" not in answer:
            return answer
        raise _refused(response.status_code, answer)


def subscription_node(platform: Platform, external_id: str, business_account_id: str | None) -> str | None:
    """What is subscribed for an account; None: a WhatsApp number whose Business Account is not known."""
    return business_account_id if platform is Platform.WHATSAPP else external_id


def _refused(status: int, answer: Any) -> SocialSyncError:
    error = classify(status, answer)
    if isinstance(error, UnknownOutcome):
        return TransientError(f"{_shown(status, answer)}: a fault on Meta's side")
    if isinstance(error, PermanentError) and codes(answer) == (100, _NOT_FOUND_SUBCODE):
        return NotFound(f"{_shown(status, answer)}: no such id, or this token may not see it", code=100)
    return error


def _refused_grant(status: int, answer: Any) -> SocialSyncError:
    """The error of an exchange. Apps' faults are answered like users': code 1 is a wrong secret, 101 a wrong id."""
    code, subcode = codes(answer)
    shown = _shown(status, answer)
    refused = 400 <= status < 500 and status not in (408, 429)
    if subcode in _CODE_FAULTS:
        return PermanentError(f"{shown}: {_CODE_FAULTS[subcode]}", code=code)
    if refused and code in (1, 101):
        return PermanentError(f"{shown}: the app is not accepted: check its id and its secret", code=code)
    if refused and code is None:
        # as api.instagram.com answers, which knows no Graph codes
        return PermanentError(
            f"{shown}: refused: log in again; if it persists, check the app's id and secret"
        )
    error = _refused(status, answer)
    if isinstance(error, PermanentError) and not isinstance(error, AuthenticationExpired):
        return PermanentError(f"{shown}: refused", code=code)
    return error


def _shown(status: int, answer: Any) -> str:
    code, subcode = codes(answer)
    if code is None:
        return f"HTTP {status} from Meta"
    return (
        f"Graph error {code}/{subcode} (HTTP {status})" if subcode else f"Graph error {code} (HTTP {status})"
    )


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise TransientError(f"Meta's answer has no {name}")
    return value


def _rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    rows = answer.get("data")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _next_cursor(answer: dict[str, Any]) -> str | None:
    paging = answer.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    return after if isinstance(after, str) and after else None


def _is_of_app(row: dict[str, Any], app_id: str | None) -> bool:
    """Rows that name no app are of the one that asks, and so are all where its id is not known."""
    whatsapp = row.get("whatsapp_business_api_data")
    found = whatsapp.get("id") if isinstance(whatsapp, dict) else row.get("id")
    return found is None or app_id is None or str(found) == app_id


def _has_fields(row: dict[str, Any], wanted: tuple[str, ...]) -> bool:
    fields = row.get("subscribed_fields")
    return isinstance(fields, list) and all(name in fields for name in wanted)


def _node(object_id: str) -> str:
    return quote(object_id, safe="")

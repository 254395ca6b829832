"""Logins and account calls: what is written on the wire, what each answer means, and that no error shows a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest

from socialsync_common.contracts import Platform
from socialsync_common.errors import (
    AuthenticationExpired,
    ConfigError,
    PermanentError,
    SocialSyncError,
    TransientError,
)
from socialsync_common.platforms.login import (
    INSTAGRAM_FIELDS,
    PAGE_FIELDS,
    Login,
    LoginClient,
    NotFound,
    subscription_node,
)
from socialsync_common.settings import GraphSettings, LoginSettings

APPS = {
    "meta_app_id": "11111",
    "meta_app_secret": "meta-secret",
    "instagram_app_id": "22222",
    "instagram_app_secret": "instagram-secret",
}
BACK = "https://social.example/api/oauth/x/callback"
SECRETS = ("meta-secret", "instagram-secret", "THE-CODE", "A-TOKEN", "SHORT-TOKEN")
EXPIRED = {"error": {"message": "Session of A-TOKEN has expired", "code": 190, "error_subcode": 463}}

Answer = tuple[int, Any] | Exception


class Meta:
    """Answers by path, and keeps what it was asked."""

    def __init__(self, answers: dict[str, Answer | list[Answer]] | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = answers or {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers[f"{request.method} {request.url.host}{request.url.path}"]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        return (
            httpx.Response(status, content=body)
            if isinstance(body, bytes)
            else httpx.Response(status, json=body)
        )

    @property
    def last(self) -> httpx.Request:
        return self.requests[-1]


def client(meta: Meta, apps: dict[str, str] | None = None, **graph: Any) -> LoginClient:
    graph.setdefault("meta_app_secret", "meta-secret")
    http = httpx.Client(transport=httpx.MockTransport(meta))
    return LoginClient(GraphSettings(**graph), LoginSettings(**(APPS if apps is None else apps)), http)


def form(request: httpx.Request) -> dict[str, str]:
    return dict(parse_qsl(request.content.decode()))


def test_where_people_consent() -> None:
    url = urlsplit(client(Meta()).authorization_url(Login.INSTAGRAM, BACK, "the state&"))
    assert (url.scheme, url.netloc, url.path) == ("https", "www.instagram.com", "/oauth/authorize")
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert query.pop("scope").split(",") == [
        "instagram_business_basic", "instagram_business_manage_messages", "instagram_business_manage_comments",
        "instagram_business_content_publish",
    ]  # fmt: skip
    assert query == {
        "client_id": "22222",
        "redirect_uri": BACK,
        "response_type": "code",
        "state": "the state&",
    }

    url = urlsplit(client(Meta()).authorization_url(Login.FACEBOOK, BACK, "s"))
    assert (url.netloc, url.path) == ("www.facebook.com", "/v24.0/dialog/oauth")
    assert parse_qs(url.query)["client_id"] == ["11111"]
    assert {"pages_messaging", "pages_manage_posts", "business_management"} <= set(
        parse_qs(url.query)["scope"][0].split(",")
    )


def test_a_stand_in_takes_the_place_of_every_host() -> None:
    meta = Meta(
        {
            "POST 127.0.0.1/oauth/access_token": (200, {"access_token": "SHORT-TOKEN"}),
            "GET 127.0.0.1/access_token": (200, {"access_token": "A-TOKEN", "expires_in": 5}),
            "GET 127.0.0.1/v24.0/me": (200, {"user_id": "1784", "username": "bakery"}),
            "GET 127.0.0.1/v24.0/oauth/access_token": (200, {"access_token": "A-TOKEN"}),
            "GET 127.0.0.1/v24.0/me/accounts": (200, {"data": []}),
            "GET 127.0.0.1/refresh_access_token": (200, {"access_token": "A-TOKEN"}),
        }
    )
    stand_in = client(meta, meta_graph_url="http://127.0.0.1:8100/")
    for login, path in ((Login.INSTAGRAM, "/oauth/authorize"), (Login.FACEBOOK, "/v24.0/dialog/oauth")):
        assert stand_in.authorization_url(login, BACK, "s").startswith(f"http://127.0.0.1:8100{path}?")
        stand_in.log_in(login, "THE-CODE", BACK)
    stand_in.refresh("A-TOKEN")
    assert {request.url.port for request in meta.requests} == {8100}


@pytest.mark.parametrize("answer", [
    {"data": [{"access_token": "SHORT-TOKEN", "user_id": "1020", "permissions": "a,b"}]},
    {"access_token": "SHORT-TOKEN", "user_id": 1020},
])  # fmt: skip
def test_an_instagram_login(answer: Any) -> None:
    meta = Meta(
        {
            "POST api.instagram.com/oauth/access_token": (200, answer),
            "GET graph.instagram.com/access_token": (200, {"access_token": "A-TOKEN", "expires_in": 5184000}),
            "GET graph.instagram.com/v24.0/me": (200, {"user_id": 17841, "username": "bakery", "id": "9"}),
        }
    )
    (account,) = client(meta).log_in(Login.INSTAGRAM, "THE-CODE#_", BACK)
    assert (account.platform, account.external_id, account.name) == (Platform.INSTAGRAM, "17841", "bakery")
    assert (account.grant.token, account.grant.expires_in) == ("A-TOKEN", 5184000)
    code, long, me = meta.requests
    assert form(code) == {
        "client_id": "22222", "client_secret": "instagram-secret", "grant_type": "authorization_code",
        "redirect_uri": BACK, "code": "THE-CODE",
    }  # fmt: skip
    assert not code.url.query
    assert dict(long.url.params) == {
        "grant_type": "ig_exchange_token", "client_secret": "instagram-secret", "access_token": "SHORT-TOKEN",
    }  # fmt: skip
    assert me.headers["authorization"] == "Bearer A-TOKEN"
    assert "appsecret_proof" not in me.url.params
    assert "A-TOKEN" not in repr(account)


def test_a_facebook_login_opens_pages() -> None:
    row = {"id": "1", "name": "Bakery", "access_token": "PAGE-1", "tasks": ["MANAGE"]}
    meta = Meta(
        {
            "GET graph.facebook.com/v24.0/oauth/access_token": [
                (200, {"access_token": "SHORT-TOKEN", "token_type": "bearer", "expires_in": 5000}),
                (200, {"access_token": "A-TOKEN", "token_type": "bearer", "expires_in": 5184000}),
            ],
            "GET graph.facebook.com/v24.0/me/accounts": [
                # the address names another host: only the cursor is taken from it
                (200, {"data": [row], "paging": {"cursors": {"after": "c1"}, "next": "https://evil.example/?after=c1"}}),
                (200, {"data": [row, {"id": "2", "name": "No role", "tasks": []}, "junk"],
                       "paging": {"cursors": {"after": "c2"}, "next": "https://graph.facebook.com/x"}}),
                (200, {"data": [{"id": "3", "access_token": "PAGE-3"}], "paging": {"cursors": {"after": "c3"}}}),
            ],
        }
    )  # fmt: skip
    accounts = client(meta).log_in(Login.FACEBOOK, "THE-CODE", BACK)
    assert [(one.external_id, one.name, one.grant.token, one.grant.expires_in) for one in accounts] == [
        ("1", "Bakery", "PAGE-1", None), ("3", "3", "PAGE-3", None),
    ]  # fmt: skip
    assert all(one.platform is Platform.MESSENGER for one in accounts)
    code, long, *pages = meta.requests
    assert dict(code.url.params) == {
        "client_id": "11111", "client_secret": "meta-secret", "redirect_uri": BACK, "code": "THE-CODE",
    }  # fmt: skip
    assert dict(long.url.params) == {
        "grant_type": "fb_exchange_token", "client_id": "11111", "client_secret": "meta-secret",
        "fb_exchange_token": "SHORT-TOKEN",
    }  # fmt: skip
    assert [page.url.params.get("after") for page in pages] == [None, "c1", "c2"]
    proof = hmac.new(b"meta-secret", b"A-TOKEN", hashlib.sha256).hexdigest()
    assert {page.url.params["appsecret_proof"] for page in pages} == {proof}
    assert {page.headers["authorization"] for page in pages} == {"Bearer A-TOKEN"}


def test_a_cursor_that_leads_nowhere_ends() -> None:
    endless = {"data": [], "paging": {"cursors": {"after": "c"}, "next": "https://graph.facebook.com/x"}}
    meta = Meta({"GET graph.facebook.com/v24.0/me/accounts": (200, endless)})
    assert client(meta).own_pages("A-TOKEN") == []
    assert len(meta.requests) == 2

    class Counting(Meta):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            after = str(len(self.requests))
            self._answers["GET graph.facebook.com/v24.0/me/accounts"] = (
                200, {"data": [], "paging": {"cursors": {"after": after}, "next": "x"}},
            )  # fmt: skip
            return super().__call__(request)

    counting = Counting()
    with pytest.raises(PermanentError, match="5000 Pages"):
        client(counting).own_pages("A-TOKEN")
    assert len(counting.requests) == 50


def test_refresh() -> None:
    meta = Meta(
        {"GET graph.instagram.com/refresh_access_token": (200, {"access_token": "NEW", "expires_in": 9})}
    )
    grant = client(meta, {}).refresh("A-TOKEN")
    assert (grant.token, grant.expires_in) == ("NEW", 9)
    assert dict(meta.last.url.params) == {"grant_type": "ig_refresh_token", "access_token": "A-TOKEN"}
    assert "NEW" not in repr(grant)


@pytest.mark.parametrize("expires_in", [None, "soon", True, 0, -5, 1.5])
def test_a_lifetime_that_says_nothing_is_not_known(expires_in: Any) -> None:
    answer = {"access_token": "NEW", "expires_in": expires_in}
    meta = Meta({"GET graph.instagram.com/refresh_access_token": (200, answer)})
    assert client(meta).refresh("A-TOKEN").expires_in is None


CALLS: dict[str, tuple[str, Callable[[LoginClient], Any]]] = {
    "code": ("POST api.instagram.com/oauth/access_token",
             lambda one: one.exchange_code(Login.INSTAGRAM, "THE-CODE", BACK)),
    "page code": ("GET graph.facebook.com/v24.0/oauth/access_token",
                  lambda one: one.exchange_code(Login.FACEBOOK, "THE-CODE", BACK)),
    "long": ("GET graph.instagram.com/access_token",
             lambda one: one.exchange_for_long_lived(Login.INSTAGRAM, "SHORT-TOKEN")),
    "refresh": ("GET graph.instagram.com/refresh_access_token", lambda one: one.refresh("A-TOKEN")),
    "pages": ("GET graph.facebook.com/v24.0/me/accounts", lambda one: one.own_pages("A-TOKEN")),
    "number": ("GET graph.facebook.com/v24.0/1055", lambda one: one.number_name("1055", "A-TOKEN")),
    "look": ("GET graph.facebook.com/v24.0/7/subscribed_apps",
             lambda one: one.is_subscribed(Platform.MESSENGER, "7", "A-TOKEN")),
    "subscribe": ("POST graph.instagram.com/v24.0/7/subscribed_apps",
                  lambda one: one.subscribe(Platform.INSTAGRAM, "7", "A-TOKEN")),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((401, EXPIRED), AuthenticationExpired),
        ((400, {"error": {"code": 4, "message": "A-TOKEN"}}), TransientError),
        ((500, {"error": {"code": 1, "message": "A-TOKEN"}}), TransientError),
        ((503, b"<html>THE-CODE</html>"), TransientError),
        ((403, {"error": {"code": 10, "message": "A-TOKEN"}}), PermanentError),
        ((200, b"not JSON: THE-CODE"), TransientError),
        ((200, {"data": "THE-CODE"}), (TransientError, type(None), NotFound)),
        (httpx.ConnectError("A-TOKEN"), TransientError),
        (httpx.ReadTimeout("A-TOKEN"), TransientError),
        (httpx.RemoteProtocolError("A-TOKEN"), TransientError),
    ],
)  # fmt: skip
def test_what_each_answer_means(call: str, answer: Answer, error: Any) -> None:
    path, make = CALLS[call]
    caught: Exception | None = None
    try:
        make(client(Meta({path: answer})))
    except SocialSyncError as raised:
        caught = raised
    assert isinstance(caught, error), caught
    if caught:
        assert not any(secret in f"{caught!r} {caught.__cause__!r}" for secret in SECRETS)
        assert caught.__suppress_context__ or caught.__context__ is None


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, {"error_type": "OAuthException", "code": 400, "error_message": "THE-CODE is bad"}, "log in again"),
        (400, {"error": {"code": 100, "error_subcode": 36007}}, "has expired"),
        (400, {"error": {"code": 100, "error_subcode": 36008}}, "check PUBLIC_URL"),
        (400, {"error": {"code": 100, "error_subcode": 36009}}, "used before"),
        (400, {"error": {"code": 1, "message": "Error validating client secret"}}, "check its id and its secret"),
        (400, {"error": {"code": 101, "message": "Error validating application"}}, "check its id and its secret"),
    ],
)  # fmt: skip
def test_what_a_refused_code_means(status: int, body: Any, says: str) -> None:
    for path, make in (CALLS["code"], CALLS["page code"]):
        with pytest.raises(PermanentError, match=says) as caught:
            make(client(Meta({path: (status, body)})))
        assert "THE-CODE" not in str(caught.value)


def test_a_number() -> None:
    answer = {"id": "1055", "display_phone_number": "+33 1 23", "verified_name": "Bakery"}
    meta = Meta({"GET graph.facebook.com/v24.0/1055": (200, answer)})
    assert client(meta).number_name("1055", "A-TOKEN") == "Bakery"
    assert meta.last.url.params["fields"] == "id,display_phone_number,verified_name,quality_rating"
    assert meta.last.url.params["appsecret_proof"]
    answer["verified_name"] = ""
    assert client(meta).number_name("1055", "A-TOKEN") == "+33 1 23"


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"id": "1055", "name": "a Page"}),
        (400, {"error": {"code": 100, "error_subcode": 33}}),
        (404, {"error": {"code": 100, "error_subcode": 33}}),
    ],
)
def test_an_id_that_is_no_number(answer: Answer) -> None:
    meta = Meta({"GET graph.facebook.com/v24.0/1055": answer})
    with pytest.raises(NotFound):
        client(meta).number_name("1055", "A-TOKEN")


def test_a_damaged_token_is_not_sent() -> None:
    meta = Meta()
    with pytest.raises(AuthenticationExpired):
        client(meta).number_name("1055", "A-TOKEN\nX-Evil: 1")
    assert not meta.requests


def rows(*rows: dict[str, Any]) -> Answer:
    return 200, {"data": list(rows)}


@pytest.mark.parametrize(
    ("platform", "answer", "subscribed"),
    [
        (Platform.MESSENGER, rows(), False),
        (Platform.MESSENGER, rows({"id": "11111", "subscribed_fields": list(PAGE_FIELDS)}), True),
        (Platform.MESSENGER, rows({"subscribed_fields": [*PAGE_FIELDS, "mention"]}), True),
        (Platform.MESSENGER, rows({"id": "11111", "subscribed_fields": ["messages"]}), False),
        (Platform.MESSENGER, rows({"id": "11111"}), False),
        (Platform.MESSENGER, rows({"id": "999", "subscribed_fields": list(PAGE_FIELDS)}), False),  # another app
        (Platform.INSTAGRAM, rows(), False),
        (Platform.INSTAGRAM, rows({"id": "22222", "subscribed_fields": ["messages"]}), True),
        (Platform.INSTAGRAM, rows({"id": "11111", "subscribed_fields": ["messages"]}), False),
        (Platform.WHATSAPP, rows(), False),
        (Platform.WHATSAPP, rows({"whatsapp_business_api_data": {"id": "11111", "name": "us"}}), True),
        (Platform.WHATSAPP, rows({"whatsapp_business_api_data": {"id": "999", "name": "them"}}), False),
    ],
)  # fmt: skip
def test_who_is_subscribed(platform: Platform, answer: Answer, subscribed: bool) -> None:
    host = "graph.instagram.com" if platform is Platform.INSTAGRAM else "graph.facebook.com"
    meta = Meta({f"GET {host}/v24.0/7/subscribed_apps": answer})
    assert client(meta).is_subscribed(platform, "7", "A-TOKEN") is subscribed


def test_without_an_app_id_any_app_may_be_ours() -> None:
    meta = Meta(
        {
            "GET graph.facebook.com/v24.0/7/subscribed_apps": rows(
                {"whatsapp_business_api_data": {"id": "999"}}
            )
        }
    )
    assert client(meta, {}).is_subscribed(Platform.WHATSAPP, "7", "A-TOKEN")


@pytest.mark.parametrize(
    ("platform", "host", "body"),
    [
        (Platform.WHATSAPP, "graph.facebook.com", {}),
        (Platform.MESSENGER, "graph.facebook.com", {"subscribed_fields": ",".join(PAGE_FIELDS)}),
        (Platform.INSTAGRAM, "graph.instagram.com", {"subscribed_fields": ",".join(INSTAGRAM_FIELDS)}),
    ],
)
def test_subscribing(platform: Platform, host: str, body: dict[str, str]) -> None:
    meta = Meta({f"POST {host}/v24.0/7/subscribed_apps": (200, {"success": True})})
    client(meta).subscribe(platform, "7", "A-TOKEN")
    assert json.loads(meta.last.content) == body
    assert ("appsecret_proof" in meta.last.url.params) is (platform is not Platform.INSTAGRAM)
    silent = Meta({f"POST {host}/v24.0/7/subscribed_apps": (200, {})})
    with pytest.raises(TransientError):
        client(silent).subscribe(platform, "7", "A-TOKEN")


def test_what_is_subscribed_for_an_account() -> None:
    assert subscription_node(Platform.WHATSAPP, "1055", "88") == "88"
    assert subscription_node(Platform.WHATSAPP, "1055", None) is None
    assert subscription_node(Platform.INSTAGRAM, "1784", None) == "1784"


@pytest.mark.parametrize(
    ("login", "missing"),
    [
        (Login.INSTAGRAM, "INSTAGRAM_APP_ID"),
        (Login.INSTAGRAM, "INSTAGRAM_APP_SECRET"),
        (Login.FACEBOOK, "META_APP_ID"),
        (Login.FACEBOOK, "META_APP_SECRET"),
    ],
)
def test_a_login_that_is_not_set_up_says_what_is_missing(login: Login, missing: str) -> None:
    apps = {name: value for name, value in APPS.items() if name != missing.lower()}
    assert client(Meta()).missing_setting(login) is None
    assert client(Meta(), apps).missing_setting(login) == missing
    for make in (
        lambda one: one.authorization_url(login, BACK, "s"),
        lambda one: one.exchange_code(login, "THE-CODE", BACK),
        lambda one: one.exchange_for_long_lived(login, "A-TOKEN"),
    ):
        with pytest.raises(ConfigError, match=f"^{missing} is not set"):
            make(client(Meta(), apps))

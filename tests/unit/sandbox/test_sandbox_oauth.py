"""Logins as browsers and apps go through them, and what tokens open."""

from __future__ import annotations

import html
import re
import time
from typing import Any

import httpx
import pytest

IG = "17841400000000001"
OTHER_IG = "17841400000000002"
PAGE = "1000000000001"
OTHER_PAGE = "1000000000002"
NUMBER = "5550001"
WABA = "8800"
BACK = "https://social.example/back?login=1"
DAY = 86400
ASKED = {
    "client_id": "app-1", "redirect_uri": BACK, "response_type": "code", "scope": "a,b", "state": "s&<t>",
}  # fmt: skip
SECRETS = {"instagram": "instagram-app-secret", "facebook": "app-secret"}
CONSENT = {"instagram": "/oauth/authorize", "facebook": "/v24.0/dialog/oauth"}


@pytest.fixture(autouse=True)
async def accounts(meta: Any) -> None:
    for platform, account, name in (
        ("instagram", IG, "bakery"),
        ("instagram", OTHER_IG, None),
        ("messenger", PAGE, 'Bakery <"Page">'),
        ("messenger", OTHER_PAGE, None),
    ):
        await meta.post("accounts", platform=platform, account_id=account, name=name)
    await meta.post(
        "accounts", platform="whatsapp", account_id=NUMBER, token="w", name="Shop", business_account_id=WABA
    )


async def consent(meta: Any, login: str, choice: str | None = None, **changed: str | None) -> httpx.Response:
    query = {**ASKED, **({"sandbox_choice": choice} if choice else {}), **changed}
    answer: httpx.Response = await meta.http.get(
        CONSENT[login], params={name: value for name, value in query.items() if value is not None}
    )
    return answer


async def code_of(meta: Any, login: str, choice: str) -> str:
    answer = await consent(meta, login, choice)
    assert answer.status_code == 302, answer.text
    return httpx.URL(answer.headers["location"]).params["code"]


async def exchange(meta: Any, login: str, code: str, **changed: str) -> httpx.Response:
    form = {
        "client_id": "app-1", "client_secret": SECRETS[login], "grant_type": "authorization_code",
        "redirect_uri": BACK, "code": code, **changed,
    }  # fmt: skip
    answer: httpx.Response
    if login == "instagram":
        answer = await meta.http.post("/oauth/access_token", data=form)
    else:
        del form["grant_type"]
        answer = await meta.http.get("/v24.0/oauth/access_token", params=form)
    return answer


async def short_token(meta: Any, login: str, choice: str) -> str:
    answer = (await exchange(meta, login, await code_of(meta, login, choice))).json()
    found = answer["data"][0] if login == "instagram" else answer
    token: str = found["access_token"]
    return token


async def long_token(meta: Any, login: str, choice: str) -> str:
    short = await short_token(meta, login, choice)
    if login == "instagram":
        path, query = "/access_token", {"grant_type": "ig_exchange_token", "access_token": short}
    else:
        path = "/v24.0/oauth/access_token"
        query = {"grant_type": "fb_exchange_token", "fb_exchange_token": short, "client_id": "app-1"}
    answer = (await meta.http.get(path, params={**query, "client_secret": SECRETS[login]})).json()
    token: str = answer.pop("access_token")
    assert answer == {"token_type": "bearer", "expires_in": 5184000}
    assert token != short
    return token


async def refresh(meta: Any, token: str) -> httpx.Response:
    answer: httpx.Response = await meta.http.get(
        "/refresh_access_token", params={"grant_type": "ig_refresh_token", "access_token": token}
    )
    return answer


def at(meta: Any, seconds: float) -> None:
    """It is that much later."""
    now = time.time() + seconds
    meta.sandbox.tokens.clock = meta.sandbox.logins.clock = lambda: now


@pytest.mark.parametrize(
    ("login", "kind", "offered", "checked"),
    [("instagram", "radio", [IG, OTHER_IG], 1), ("facebook", "checkbox", [PAGE, OTHER_PAGE], 2)],
)
async def test_a_person_chooses_and_is_sent_back(
    meta: Any, login: str, kind: str, offered: list[str], checked: int
) -> None:
    page = await consent(meta, login)
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    assert re.findall(rf'type="{kind}" name="account" value="(\d+)"', page.text) == offered
    assert page.text.count(" checked") == checked
    assert "<t>" not in page.text
    assert '<"Page">' not in page.text
    assert ("Bakery &lt;&quot;Page&quot;&gt;" in page.text) is (login == "facebook")
    assert re.findall(r'<button name="sandbox_choice" value="(\w+)">(\w+)', page.text) == [
        ("allow", "Allow"),
        ("deny", "Cancel"),
    ]
    # what the browser sends with Allow
    hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    form = [(name, html.unescape(value)) for name, value in hidden]
    assert dict(form) == ASKED
    chosen = [*form, ("account", offered[-1]), ("sandbox_choice", "allow")]
    back = await meta.http.get(CONSENT[login], params=chosen)
    assert back.status_code == 302
    location = back.headers["location"]
    assert location.startswith(f"{BACK}&code=")
    assert httpx.URL(location).params["state"] == "s&<t>"
    assert location.endswith("#_") is (login == "instagram")
    assert (await exchange(meta, login, httpx.URL(location).params["code"])).status_code == 200


@pytest.mark.parametrize("login", CONSENT)
async def test_a_person_declines(meta: Any, login: str) -> None:
    answer = await consent(meta, login, "deny", state=None)
    assert answer.status_code == 302
    assert dict(httpx.URL(answer.headers["location"]).params) == {
        "login": "1", "error": "access_denied", "error_reason": "user_denied",
        "error_description": "The user denied your request.",
    }  # fmt: skip


@pytest.mark.parametrize("login", CONSENT)
@pytest.mark.parametrize(
    ("choice", "changed"),
    [
        (None, {"client_id": None}),
        (None, {"redirect_uri": None}),
        (None, {"response_type": "token"}),
        ("deny", {"redirect_uri": "/back"}),
        ("deny", {"redirect_uri": "javascript:alert(1)"}),
        ("deny", {"redirect_uri": "https://[bad"}),
        ("deny", {"redirect_uri": "https://social.example/#x"}),
        ("maybe", {}),
        ("allow:<script>", {}),
        (f"allow:{NUMBER}", {}),
    ],
)
async def test_logins_that_cannot_go_on(
    meta: Any, login: str, choice: str | None, changed: dict[str, str | None]
) -> None:
    answer = await consent(meta, login, choice, **changed)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert "This login cannot go on" in answer.text
    assert "<script>" not in answer.text


async def test_instagram_logs_in_to_one_account(meta: Any) -> None:
    for choice in ("allow", "allow:", f"allow:{IG},{OTHER_IG}"):
        assert (await consent(meta, "instagram", choice)).status_code == 400
    await meta.delete("state")
    page = await consent(meta, "instagram")
    assert "No account to choose" in page.text
    assert ">Allow<" not in page.text
    assert ">Allow<" in (await consent(meta, "facebook")).text  # a person without Pages


async def test_an_instagram_login(meta: Any) -> None:
    code = await code_of(meta, "instagram", f"allow:{IG}")
    (granted,) = (await exchange(meta, "instagram", code)).json()["data"]
    short = granted.pop("access_token")
    assert granted == {"user_id": IG, "permissions": "a,b"}
    me = await meta.graph("GET", "me", token=short, fields="user_id,username,account_type")
    assert me.pop("id") not in ("", IG)
    assert me == {"user_id": IG, "username": "bakery", "account_type": "BUSINESS"}
    long = await long_token(meta, "instagram", f"allow:{OTHER_IG}")
    me = await meta.graph("GET", "me", token=long, fields="username")
    assert me["username"] == f"sandbox.{OTHER_IG}"
    assert await meta.get("tokens", account=IG) == [short]
    assert len(await meta.get("tokens", account=OTHER_IG)) == 2
    assert await meta.get("tokens", account=PAGE) == []
    # direct messages know whose token it is, too
    await meta.send("me", {"recipient": {"id": "7"}, "message": {"text": "Hi"}}, token=long)
    (sent,) = await meta.get("sent")
    assert sent["account"] == OTHER_IG


@pytest.mark.parametrize(
    ("changed", "words", "facebook"),
    [
        ({"code": "made up"}, "Invalid verification code", (100, None)),
        ({"client_id": "app-2"}, "Invalid verification code", (100, None)),
        ({"client_secret": "wrong"}, "client secret", (1, None)),
        ({"client_secret": "é"}, "client secret", (1, None)),
        ({"redirect_uri": "https://elsewhere.example"}, "redirect_uri", (100, 36008)),
    ],
)
@pytest.mark.parametrize("login", CONSENT)
async def test_codes_that_are_refused(
    meta: Any, login: str, changed: dict[str, str], words: str, facebook: tuple[int, int | None]
) -> None:
    code = await code_of(meta, login, f"allow:{IG if login == 'instagram' else PAGE}")
    refused = await exchange(meta, login, **{"code": code, **changed})
    assert_refused(refused, login, words, facebook)
    # and it is as good as before
    assert (await exchange(meta, login, code)).status_code == 200
    assert_refused(await exchange(meta, login, code), login, "has been used", (100, 36009))


def assert_refused(answer: httpx.Response, login: str, words: str, facebook: tuple[int, int | None]) -> None:
    assert answer.status_code == 400
    body = answer.json()
    if login == "instagram":
        assert (body["error_type"], body["code"]) == ("OAuthException", 400)
        assert words in body["error_message"]
    else:
        assert words in body["error"]["message"]
        assert (body["error"]["code"], body["error"].get("error_subcode")) == facebook


@pytest.mark.parametrize("login", CONSENT)
async def test_a_code_is_good_for_an_hour_and_for_its_own_login(meta: Any, login: str) -> None:
    code = await code_of(meta, login, f"allow:{IG if login == 'instagram' else PAGE}")
    other = "facebook" if login == "instagram" else "instagram"
    assert_refused(await exchange(meta, other, code), other, "Invalid verification code", (100, None))
    at(meta, 3601)
    assert_refused(await exchange(meta, login, code), login, "has expired", (100, 36007))


async def test_grant_types_and_tokens_that_are_refused(meta: Any) -> None:
    code = await code_of(meta, "instagram", f"allow:{IG}")
    wrong = await exchange(meta, "instagram", code, grant_type="password")
    assert_refused(wrong, "instagram", "grant_type", (100, None))
    for path, query, code_expected in (
        ("/access_token", {"access_token": "t", "client_secret": SECRETS["instagram"]}, 100),
        ("/access_token", {"grant_type": "ig_exchange_token", "access_token": "t"}, 1),
        (
            "/access_token",
            {"grant_type": "ig_exchange_token", "access_token": "t", "client_secret": SECRETS["instagram"]},
            190,
        ),
        ("/access_token", {"grant_type": "ig_exchange_token"}, 190),
        ("/refresh_access_token", {"access_token": "t"}, 100),
        (
            "/v24.0/oauth/access_token",
            {
                "grant_type": "fb_exchange_token",
                "client_secret": SECRETS["facebook"],
                "fb_exchange_token": "t",
            },
            190,
        ),
        ("/v24.0/oauth/access_token", {"grant_type": "fb_exchange_token", "client_secret": "wrong"}, 1),
        ("/v24.0/me", {"access_token": "t"}, 190),
        ("/v24.0/me/accounts", {"access_token": "t"}, 190),
        ("/v24.0/me/accounts", {"access_token": "w", "limit": "x"}, 100),
    ):
        answer = await meta.http.get(path, params=query)
        assert (answer.status_code in (400, 401), answer.json()["error"]["code"]) == (True, code_expected), (
            path
        )


async def test_a_token_is_refreshed_after_a_day(meta: Any) -> None:
    token = await long_token(meta, "instagram", f"allow:{IG}")
    young = await refresh(meta, token)
    assert (young.status_code, young.json()["error"]["code"]) == (400, 100)
    assert "24 hours old" in young.json()["error"]["message"]
    await meta.post("tokens", token=token, state="valid", age_seconds=DAY)
    fresh = (await refresh(meta, token)).json()
    assert (fresh["token_type"], fresh["expires_in"]) == ("bearer", 5184000)
    assert fresh["access_token"] != token
    assert (await meta.graph("GET", "me", token=fresh["access_token"]))["user_id"] == IG
    assert (await meta.graph("GET", "me", token=token))["user_id"] == IG  # the old one stays good
    assert (await meta.get("tokens", account=IG))[1:] == [token, fresh["access_token"]]
    await meta.post("tokens", token=token, state="expired")
    ended = (await refresh(meta, token)).json()["error"]
    assert (ended["code"], ended["error_subcode"]) == (190, 463)


async def test_tokens_from_elsewhere(meta: Any) -> None:
    await meta.post("accounts", platform="instagram", account_id=IG, token="old")
    await meta.post("tokens", token="young", account=IG, state="valid", age_seconds=60)
    await meta.post("tokens", token="nobody's")
    assert await meta.get("tokens", account=IG) == ["old", "young"]
    assert (await meta.graph("GET", "me", token="young"))["user_id"] == IG
    assert (await refresh(meta, "young")).status_code == 400
    assert (await refresh(meta, "old")).status_code == 200
    assert (await refresh(meta, "nobody's")).status_code == 200
    for wrong in ({"token": ""}, {"token": "t", "state": "stale"}, {"token": "t", "age_seconds": -1}, {}):
        assert (await meta.http.post("/sandbox/tokens", json=wrong)).status_code == 422
    assert (await meta.http.get("/sandbox/tokens")).status_code == 422


@pytest.mark.parametrize("login", CONSENT)
async def test_tokens_end_by_themselves(meta: Any, login: str) -> None:
    choice = f"allow:{IG if login == 'instagram' else PAGE}"
    short, long = await short_token(meta, login, choice), await long_token(meta, login, choice)
    (page,) = (await meta.graph("GET", "me/accounts", token=long))["data"]
    at(meta, 3601)
    assert await meta.refused("GET", "me", token=short) == (401, 190, 463)
    assert (await meta.ask("GET", "me", token=long)).status_code == 200
    query = {
        "grant_type": "fb_exchange_token",
        "fb_exchange_token": short,
        "client_secret": SECRETS["facebook"],
    }
    late = await meta.http.get("/v24.0/oauth/access_token", params=query)
    assert late.json()["error"]["error_subcode"] == 463
    at(meta, 60 * DAY + 1)
    assert await meta.refused("GET", "me", token=long) == (401, 190, 463)
    # Pages' tokens do not
    assert (await meta.ask("GET", "me", token=page["access_token"])).status_code == 200


async def test_a_facebook_login_opens_the_pages_that_were_ticked(meta: Any) -> None:
    user = await long_token(meta, "facebook", f"allow:{PAGE},{OTHER_PAGE}")
    answer = await meta.graph("GET", "me/accounts", token=user, fields="id,name,access_token,tasks")
    assert [(row["id"], row["name"]) for row in answer["data"]] == [
        (PAGE, 'Bakery <"Page">'),
        (OTHER_PAGE, f"Sandbox {OTHER_PAGE}"),
    ]
    assert "CREATE_CONTENT" in answer["data"][0]["tasks"]
    assert "next" not in answer["paging"]
    token = answer["data"][0]["access_token"]
    assert await meta.graph("GET", "me", token=token) == {"id": PAGE, "name": 'Bakery <"Page">'}
    assert token in await meta.get("tokens", account=PAGE)
    # in parts, with the same tokens again
    first = await meta.graph("GET", "me/accounts", token=user, fields="id,access_token", limit=1)
    assert first["data"] == [{"id": PAGE, "access_token": token}]
    following = httpx.URL(first["paging"]["next"])
    assert following.params["after"] == first["paging"]["cursors"]["after"]
    second = (await meta.http.get(following, headers={"authorization": f"Bearer {user}"})).json()
    assert [row["id"] for row in second["data"]] == [OTHER_PAGE]
    assert "next" not in second["paging"]
    assert await meta.graph("GET", "me/accounts", token=user, after=2) == {"data": []}
    none = await long_token(meta, "facebook", "allow:")
    assert await meta.graph("GET", "me/accounts", token=none) == {"data": []}


async def test_pages_tokens_of_a_short_login_are_short(meta: Any) -> None:
    user = await short_token(meta, "facebook", f"allow:{PAGE}")
    (page,) = (await meta.graph("GET", "me/accounts", token=user))["data"]
    at(meta, 3601)
    assert await meta.refused("GET", "me", token=page["access_token"]) == (401, 190, 463)


async def test_a_fresh_start_forgets_logins(meta: Any) -> None:
    token = await long_token(meta, "instagram", f"allow:{IG}")
    code = await code_of(meta, "facebook", f"allow:{PAGE}")
    await meta.post("tokens", token="t", state="expired")
    await meta.graph("POST", f"{WABA}/subscribed_apps", token="w")
    await meta.delete("state")
    assert await meta.get("subscriptions") == {}
    assert await meta.get("tokens", account=IG) == []
    assert (await exchange(meta, "facebook", code)).status_code == 400
    assert await meta.refused("GET", "me", token=token) == (400, 190, None)
    assert await meta.refused("GET", NUMBER) == (400, 100, 33)
    assert "bakery" not in (await consent(meta, "instagram")).text

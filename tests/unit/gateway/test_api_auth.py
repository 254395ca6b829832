"""Supabase's access tokens: which are accepted, and whose they are."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from uuid import UUID

import jwt
import pytest

from socialsync_common.errors import ConfigError
from socialsync_common.settings import load
from socialsync_gateway.auth import AuthSettings, tenant_of_jwt
from socialsync_gateway.problems import ProblemError

SECRET = "a secret of a test that is long enough for HS256"
TENANT = UUID(int=7)


def token(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {"aud": "authenticated", "exp": time.time() + 60, "app_metadata": {"tenant_id": str(TENANT)}}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(claims, secret, algorithm)


def unsigned() -> str:
    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    claims = {
        "aud": "authenticated",
        "exp": time.time() + 60,
        "app_metadata": {"tenant_id": str(TENANT)},
    }
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


def test_a_signed_in_user_belongs_to_a_tenant():
    assert tenant_of_jwt(token(), SECRET) == TENANT


@pytest.mark.parametrize(
    "refused",
    [
        token(secret="another secret of a test, also long enough"),
        token(exp=time.time() - 3600),
        token(exp=None),
        token(aud="anon"),
        token(aud=None),
        token(nbf=time.time() + 3600),
        unsigned(),
        "not.a.token",
        "",
    ],
)
def test_what_is_not_accepted(refused: str):
    with pytest.raises(ProblemError) as raised:
        tenant_of_jwt(refused, SECRET)
    assert raised.value.status_code == 401
    assert 'error="invalid_token"' in raised.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "metadata", [None, {}, {"tenant_id": None}, {"tenant_id": 5}, {"tenant_id": "mine"}, [], "x"]
)
def test_a_user_without_a_tenant_is_forbidden(metadata: Any):
    # user_metadata is the user's own to change
    with pytest.raises(ProblemError) as raised:
        tenant_of_jwt(token(app_metadata=metadata, user_metadata={"tenant_id": str(TENANT)}), SECRET)
    assert raised.value.status_code == 403


def test_the_secret_is_optional_but_never_short(monkeypatch: pytest.MonkeyPatch):
    assert load(AuthSettings).supabase_jwt_secret is None
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "")
    assert load(AuthSettings).supabase_jwt_secret is None
    monkeypatch.setenv("SUPABASE_JWT_SECRET", SECRET)
    secret = load(AuthSettings).supabase_jwt_secret
    assert secret
    assert secret.get_secret_value() == SECRET
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "short")
    with pytest.raises(ConfigError, match="SUPABASE_JWT_SECRET"):
        load(AuthSettings)

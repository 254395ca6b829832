"""Who calls the API: an API key or a signed-in Supabase user, either of which belongs to one tenant."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from uuid import UUID

import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BeforeValidator, Field, SecretStr

from socialsync_common.accounts import hash_api_key
from socialsync_common.settings import Settings
from socialsync_gateway.database import Database
from socialsync_gateway.problems import ProblemError

API_KEY_PREFIX = "ssk_"
AUDIENCE = "authenticated"
CLOCK_SKEW_SECONDS = 10
_REALM = 'Bearer realm="socialsync"'

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="Bearer",
    description="An API key (`ssk_…`), or the access token of a signed-in Supabase user",
)


def _empty_is_absent(value: Any) -> Any:
    return None if value == "" else value


class AuthSettings(Settings):
    """``supabase_jwt_secret`` verifies Supabase's HS256 tokens; without it only API keys are accepted."""

    supabase_jwt_secret: Annotated[
        Annotated[SecretStr, Field(min_length=32)] | None, BeforeValidator(_empty_is_absent)
    ] = None


class Authenticator:
    """A dependency of every API route: finds the caller's tenant, for ``current_tenant`` to read, and leaves in
    ``request.state.caller`` who it is: the same text for the same key or user."""

    def __init__(self, settings: AuthSettings) -> None:
        secret = settings.supabase_jwt_secret
        self._jwt_secret = secret.get_secret_value() if secret else None

    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> None:
        """Raises ProblemError 401 or 403."""
        if credentials is None:
            raise unauthorized("Send `Authorization: Bearer` with an API key or a signed-in user's token.")
        token = credentials.credentials
        if token.startswith(API_KEY_PREFIX):
            tenant, who = await _tenant_of_key(request.app.state.database, token), f"key:{token}"
        elif self._jwt_secret is None:
            raise unauthorized("Only API keys (`ssk_…`) are accepted here.", refused=True)
        else:
            claims = _claims(token, self._jwt_secret)
            tenant, who = _tenant_of_claims(claims), f"user:{claims.get('sub') or token}"
        request.state.tenant = tenant
        request.state.caller = hashlib.sha256(f"{tenant}:{who}".encode()).hexdigest()

    async def if_sent(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> None:
        """For routes that also do without credentials: ``request.state.caller`` is None then.

        Raises:
            ProblemError: those that are sent are not accepted.
        """
        request.state.caller = None
        if credentials is not None:
            await self(request, credentials)


def current_tenant(request: Request) -> UUID:
    """The tenant that the router's Authenticator found."""
    tenant: UUID = request.state.tenant
    return tenant


async def _tenant_of_key(database: Database, key: str) -> UUID:
    async with database.transaction() as connection:
        found = await connection.execute("SELECT api_key_tenant(%s) AS tenant", (hash_api_key(key),))
        row = await found.fetchone()
    tenant: UUID | None = row["tenant"] if row else None
    if tenant is None:
        raise unauthorized("The API key is unknown or revoked: create a new one.", refused=True)
    return tenant


def tenant_of_jwt(token: str, secret: str) -> UUID:
    """The tenant that a Supabase access token names in ``app_metadata``, which users cannot change.

    Raises:
        ProblemError: 401 where the token is not accepted, 403 where it names no tenant.
    """
    return _tenant_of_claims(_claims(token, secret))


def _claims(token: str, secret: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            audience=AUDIENCE,
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": ["exp", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise unauthorized("The token has expired: sign in again.", refused=True) from None
    except jwt.InvalidTokenError:
        raise unauthorized("The token is not accepted: sign in again.", refused=True) from None
    return claims


def _tenant_of_claims(claims: dict[str, Any]) -> UUID:
    metadata = claims.get("app_metadata")
    tenant = metadata.get("tenant_id") if isinstance(metadata, dict) else None
    try:
        return UUID(tenant)
    except (TypeError, ValueError, AttributeError):
        raise ProblemError(
            403,
            "The user belongs to no tenant: an administrator sets app_metadata.tenant_id.",
            kind="no-tenant",
        ) from None


def unauthorized(detail: str, *, refused: bool = False) -> ProblemError:
    """A 401 with its challenge; ``refused`` means that credentials were sent."""
    challenge = f'{_REALM}, error="invalid_token"' if refused else _REALM
    return ProblemError(401, detail, kind="unauthorized", headers={"WWW-Authenticate": challenge})

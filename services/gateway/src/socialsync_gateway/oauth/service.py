"""A login from its start to the accounts that it connects.

The state ties the browser that comes back to the caller that began: only its hash is kept, it works once, within
ten minutes, and only with the cookie that the start set or with the same caller's credentials. Otherwise anybody's
code could connect anybody's account.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from socialsync_common.errors import ConfigError, PermanentError, TransientError
from socialsync_common.platforms.login import GrantedAccount, Login
from socialsync_gateway.accounts.connector import Connected, Connector, NewAccount, Taken, expiry
from socialsync_gateway.database import Database
from socialsync_gateway.oauth import repository
from socialsync_gateway.problems import ProblemError

log = structlog.get_logger()

STATE_SECONDS = 600
_SECRET_BYTES = 32
_BINDING = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Start:
    """Where the person consents, and what their browser has to bring back."""

    authorization_url: str = field(repr=False)
    expires_at: datetime
    binding: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Return:
    """What came back from the consent page, and who brought it."""

    state: str | None = field(repr=False)
    code: str | None = field(repr=False)
    error: str | None
    binding: str | None = field(repr=False)
    caller: str | None


class OAuthService:
    """``base_url``: where the internet reaches the gateway; empty where PUBLIC_URL is not set."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")

    def redirect_uri(self, login: Login) -> str:
        return f"{self.base_url}/api/oauth/{login}/callback"

    async def start(
        self,
        database: Database,
        connector: Connector,
        login: Login,
        *,
        tenant: UUID,
        caller: str,
        binding: str | None,
    ) -> Start:
        """Begin a login. A browser that has begun another one keeps its ``binding``, so that both may end.

        Raises:
            ProblemError: 501 where this login is not set up.
        """
        missing = "PUBLIC_URL" if not self.base_url else connector.login.missing_setting(login)
        if missing:
            raise _not_set_up(login, missing)
        state = secrets.token_urlsafe(_SECRET_BYTES)
        if binding is None or not _BINDING.fullmatch(binding):
            binding = secrets.token_urlsafe(_SECRET_BYTES)
        expires_at = datetime.now(UTC) + timedelta(seconds=STATE_SECONDS)
        async with database.transaction([tenant]) as connection:
            await repository.insert_state(
                connection,
                tenant,
                state_hash=_hash(state),
                login=login,
                binding=_hash(binding),
                caller=caller,
                expires_at=expires_at,
            )
        url = connector.login.authorization_url(login, self.redirect_uri(login), state)
        log.info("login started", login=login, tenant=str(tenant))
        return Start(url, expires_at, binding)

    async def finish(
        self, database: Database, connector: Connector, login: Login, back: Return
    ) -> list[Connected]:
        """Connect what the person granted.

        Raises:
            ProblemError: 400 bad state, refused code, nothing granted; 403 the person declined; 409 an account is
                another tenant's; 502 Meta did not answer. Nothing is saved then.
        """
        tenant = await self._tenant(database, login, back)
        if back.error is not None:
            raise _declined(login, back.error)
        if not back.code:
            raise ProblemError(
                400, f"{login.title()} sent no code: start the login again.", kind="oauth-no-code"
            )
        try:
            granted = await connector.ask_meta(
                connector.login.log_in, login, back.code, self.redirect_uri(login)
            )
            if not granted:
                raise ProblemError(
                    400,
                    "No Page was granted: start again, and choose the Pages that SocialSync shall work for. "
                    "You need to be allowed to manage them.",
                    kind="oauth-no-pages",
                )
            return await connector.connect(database, tenant, [_new_account(one) for one in granted])
        except Taken as error:
            raise ProblemError(409, _sentence(error), kind="account-taken") from None
        except TransientError as error:
            log.warning("login failed", login=login, tenant=str(tenant), reason=str(error))
            raise ProblemError(
                502, f"{_sentence(error)} Nothing was connected: start the login again.", kind="oauth-failed"
            ) from None
        except PermanentError as error:
            log.warning("login refused", login=login, tenant=str(tenant), reason=str(error))
            raise ProblemError(
                400, f"{_sentence(error)} Nothing was connected: start the login again.", kind="oauth-refused"
            ) from None
        except ConfigError as error:  # it was set up when the login began
            raise ProblemError(501, _sentence(error), kind="login-not-set-up") from None

    async def _tenant(self, database: Database, login: Login, back: Return) -> UUID:
        if not back.state:
            raise _bad_state("The state is missing.")
        binding = _hash(back.binding) if back.binding else None
        async with database.transaction() as connection:
            tenant = await repository.use_state(connection, _hash(back.state), login, binding, back.caller)
        if tenant is None:
            raise _bad_state(
                "The state is unknown, was used before, has expired, or was given to another browser or caller."
            )
        return tenant


def _new_account(granted: GrantedAccount) -> NewAccount:
    return NewAccount(
        granted.platform,
        granted.external_id,
        granted.name,
        granted.grant.token,
        token_expires_at=expiry(granted.grant.expires_in),
    )


def _hash(text: str) -> bytes:
    """SHA-256 is enough: what it hashes has 256 random bits. Whatever a stranger sends instead has a hash, too."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _bad_state(what: str) -> ProblemError:
    return ProblemError(400, f"{what} Nothing was connected: start the login again.", kind="oauth-state")


def _declined(login: Login, error: str) -> ProblemError:
    if error == "access_denied":
        return ProblemError(
            403,
            f"{login.title()} was not given the consent: nothing was connected. Start again to connect accounts.",
            kind="oauth-declined",
        )
    return ProblemError(
        502, f"{login.title()} ended the login with an error: start it again.", kind="oauth-failed"
    )


def _not_set_up(login: Login, missing: str) -> ProblemError:
    return ProblemError(
        501, f"The {login.title()} login is not set up here: {missing} is not set.", kind="login-not-set-up"
    )

"""Logins under way: the apps that ask, and the codes that people's consent gives them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from hmac import compare_digest

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors
from socialsync_sandbox.graph_errors import GraphError

CODE_SECONDS = 3600.0


class Login(StrEnum):
    INSTAGRAM = "instagram"
    FACEBOOK = "facebook"

    @property
    def platform(self) -> Platform:
        """Whose accounts it offers."""
        return Platform.INSTAGRAM if self is Login.INSTAGRAM else Platform.MESSENGER


@dataclass(slots=True)
class Code:
    """What one consent is worth."""

    login: Login
    client_id: str
    redirect_uri: str
    accounts: tuple[str, ...]
    scope: str
    given_at: float
    is_used: bool = False


@dataclass(slots=True)
class Logins:
    """``app_ids`` are as set, or as the first login said; a secret that is not known is not checked."""

    app_ids: dict[Login, str] = field(default_factory=dict)
    app_secrets: dict[Login, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    codes: dict[str, Code] = field(default_factory=dict)

    def clear(self) -> None:
        self.codes.clear()

    def consent(
        self, login: Login, client_id: str, redirect_uri: str, scope: str, accounts: tuple[str, ...]
    ) -> str:
        code = f"AQ{secrets.token_urlsafe(48)}"
        self.codes[code] = Code(login, client_id, redirect_uri, accounts, scope, self.clock())
        self.app_ids.setdefault(login, client_id)
        return code

    def redeem(self, login: Login, code: str, client_id: str, secret: str, redirect_uri: str) -> Code:
        """Once. Raises GraphError."""
        self.check_app(login, secret)
        known = self.codes.get(code)
        if known is None or known.login is not login or known.client_id != client_id:
            raise graph_errors.bad_parameter("Invalid verification code format.")
        if known.redirect_uri != redirect_uri:
            raise _refused(36008, "redirect_uri isn't an absolute URI, or not the one of the login.")
        if known.is_used:
            raise _refused(36009, "This authorization code has been used.")
        if self.clock() - known.given_at >= CODE_SECONDS:
            raise _refused(36007, "This authorization code has expired.")
        known.is_used = True
        return known

    def check_app(self, login: Login, secret: str) -> None:
        wanted = self.app_secrets.get(login)
        if not secret or (wanted and not compare_digest(secret.encode(), wanted.encode())):
            raise GraphError(400, 1, "Error validating client secret.")


def _refused(subcode: int, words: str) -> GraphError:
    return GraphError(400, 100, words, subcode=subcode)

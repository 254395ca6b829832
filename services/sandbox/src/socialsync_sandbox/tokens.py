"""Access tokens: what they open, how old they are, and which have ended."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

SHORT_SECONDS = 3600
LONG_SECONDS = 60 * 86400


@dataclass(slots=True)
class Token:
    """``issued_at`` is None where it was not given out here, ``lifetime`` where it does not end by itself.

    ``page_tokens``: what a Facebook user's token was exchanged for, by Page.
    """

    accounts: tuple[str, ...] = ()
    issued_at: float | None = None
    lifetime: float | None = None
    is_ended: bool = False
    page_tokens: dict[str, str] = field(default_factory=dict)


class Tokens:
    """One that is not known here is nobody's, and good."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._tokens: dict[str, Token] = {}
        self._of_account: dict[str, list[str]] = {}

    def clear(self) -> None:
        self._tokens.clear()
        self._of_account.clear()

    def issue(self, accounts: tuple[str, ...], lifetime: float | None, *, prefix: str = "EAA") -> str:
        """Give a new one out."""
        token = f"{prefix}{secrets.token_urlsafe(48)}"
        self._tokens[token] = Token(accounts, self.clock(), lifetime)
        for account in accounts:
            self._list(account, token)
        return token

    def learn(self, token: str, account: str) -> None:
        """One from elsewhere, which opens this account."""
        self._tokens.setdefault(token, Token()).accounts = (account,)
        self._list(account, token)

    def order(
        self, token: str, account: str | None, *, is_ended: bool, age_seconds: float | None = None
    ) -> None:
        """From now on it is good or has ended as ordered, whatever its age says."""
        known = self._tokens.setdefault(token, Token())
        known.is_ended, known.lifetime = is_ended, None
        if age_seconds is not None:
            known.issued_at = self.clock() - age_seconds
        if account is not None:
            self.learn(token, account)

    def get(self, token: str) -> Token | None:
        return self._tokens.get(token)

    def given_for(self, account: str) -> list[str]:
        """In the order in which they were given out or named."""
        return self._of_account.get(account, [])

    def account_of(self, token: str) -> str | None:
        """The only account that it opens."""
        known = self._tokens.get(token)
        return known.accounts[0] if known and len(known.accounts) == 1 else None

    def age(self, token: str) -> float:
        """Seconds since it was issued; endless where that is not known."""
        known = self._tokens.get(token)
        if known is None or known.issued_at is None:
            return float("inf")
        return self.clock() - known.issued_at

    def is_expired(self, token: str) -> bool:
        known = self._tokens.get(token)
        if known is None:
            return False
        return known.is_ended or (known.lifetime is not None and self.age(token) >= known.lifetime)

    def _list(self, account: str, token: str) -> None:
        listed = self._of_account.setdefault(account, [])
        if token not in listed:
            listed.append(token)

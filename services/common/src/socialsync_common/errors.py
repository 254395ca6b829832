"""One error tree. The subclass says what a caller may do; the docstring is the default message."""

from __future__ import annotations


class SocialSyncError(Exception):
    """Unexpected SocialSync error."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigError(SocialSyncError):
    """A setting is missing or bad."""


class TransientError(SocialSyncError):
    """It did not happen, and may work later."""

    def __init__(self, message: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(SocialSyncError):
    """It did not happen, and will not."""

    def __init__(self, message: str | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class UnknownOutcome(SocialSyncError):
    """It may have happened: reconcile, never repeat blindly."""


class AuthenticationExpired(PermanentError):
    """The account's token is no longer accepted: reconnect the account."""


class WindowClosed(PermanentError):
    """The platform's messaging window is closed: the contact has to write first."""

"""What the sandbox needs to know of the gateway that it writes to."""

from __future__ import annotations

from pydantic import Field, SecretStr

from socialsync_common.settings import HttpUrl, Settings
from socialsync_sandbox.logins import Login, Logins


class SandboxSettings(Settings):
    """``meta_app_secret`` signs the webhooks; without ``sandbox_status_webhooks`` sends stay silent.

    The apps' ids and Instagram's secret are used where they are set.
    """

    meta_app_secret: SecretStr = Field(min_length=1)
    meta_app_id: str | None = None
    instagram_app_id: str | None = None
    instagram_app_secret: SecretStr | None = None
    sandbox_gateway_url: HttpUrl = HttpUrl("http://127.0.0.1:8000")
    sandbox_status_webhooks: bool = True

    @property
    def gateway_url(self) -> str:
        return str(self.sandbox_gateway_url).rstrip("/")

    @property
    def app_secret(self) -> bytes:
        return self.meta_app_secret.get_secret_value().encode()

    def logins(self) -> Logins:
        ids = {Login.FACEBOOK: self.meta_app_id, Login.INSTAGRAM: self.instagram_app_id}
        secrets = {Login.FACEBOOK: self.meta_app_secret, Login.INSTAGRAM: self.instagram_app_secret}
        return Logins(
            {login: app_id for login, app_id in ids.items() if app_id},
            {login: secret.get_secret_value() for login, secret in secrets.items() if secret},
        )

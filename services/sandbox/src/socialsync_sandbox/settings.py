"""What the sandbox needs to know of the gateway that it writes to."""

from __future__ import annotations

from pydantic import Field, SecretStr

from socialsync_common.settings import HttpUrl, Settings


class SandboxSettings(Settings):
    """``meta_app_secret`` signs the webhooks; without ``sandbox_status_webhooks`` sends stay silent."""

    meta_app_secret: SecretStr = Field(min_length=1)
    sandbox_gateway_url: HttpUrl = HttpUrl("http://127.0.0.1:8000")
    sandbox_status_webhooks: bool = True

    @property
    def gateway_url(self) -> str:
        return str(self.sandbox_gateway_url).rstrip("/")

    @property
    def app_secret(self) -> bytes:
        return self.meta_app_secret.get_secret_value().encode()

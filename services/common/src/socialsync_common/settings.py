"""Settings from the environment, one small class per concern; ``NAME_FILE`` may hold the path of a secret."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    Field,
    SecretStr,
    UrlConstraints,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from socialsync_common.errors import ConfigError


class _FileOrEnvSource(EnvSettingsSource):
    """``NAME`` from the environment, else the content of the file that ``NAME_FILE`` names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        if value is not None:
            return value, key, is_complex
        path = os.environ.get(f"{field_name.upper()}_FILE")
        if not path:
            return None, key, is_complex
        try:
            return Path(path).read_text(encoding="utf-8").strip(), key, is_complex
        except OSError as error:
            raise ConfigError(f"{field_name.upper()}_FILE: cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{field_name.upper()}_FILE: {path} is no UTF-8 text") from None


def _is_redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "redis+socket://")):
        raise ValueError("must start with redis://, rediss:// or redis+socket://")
    return url


HttpUrl = Annotated[AnyHttpUrl, UrlConstraints(allowed_schemes=["http", "https"])]


class Settings(BaseSettings):
    """Base of every settings class. Fields are upper-cased into environment names; an empty one is not set."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _FileOrEnvSource(settings_cls)


class DatabaseSettings(Settings):
    """Postgres. ``database_prepare`` is off where a transaction pooler stands in between."""

    database_url: SecretStr = Field(min_length=1)
    database_pool_size: int = Field(default=8, ge=1, le=100)
    database_prepare: bool = True


class BrokerSettings(Settings):
    """Redis: the Celery broker, and the batches of open conversations."""

    celery_broker_url: Annotated[SecretStr, AfterValidator(_is_redis_url)]
    celery_result_backend: SecretStr | None = None

    @property
    def redis_url(self) -> str:
        """The broker's URL as redis-py spells it (Celery says ``redis+socket``, redis-py says ``unix``)."""
        return self.celery_broker_url.get_secret_value().replace("redis+socket://", "unix://", 1)


class WorkerSettings(Settings):
    """A worker's place in the cluster; the operator sets these. ``health_port`` 0 takes any free one."""

    socialsync_queue: str | None = Field(default=None, max_length=63)
    pod_name: str | None = None
    health_port: int | None = Field(default=None, ge=0, le=65535)
    soft_shutdown_seconds: float = Field(default=25.0, gt=0, le=3600)


class ElectionSettings(Settings):
    """Where replicas elect one of them: the Lease of this name, or without one a lock in Redis."""

    lease_name: str | None = Field(default=None, max_length=63)
    pod_name: str | None = None
    pod_namespace: str | None = None


class BatchSettings(Settings):
    """How a burst of messages becomes one reply. Seconds, and a count."""

    batch_window_seconds: float = Field(default=2.0, gt=0, le=60)
    batch_cap_seconds: float = Field(default=15.0, gt=0, le=300)
    batch_max_messages: int = Field(default=20, ge=1, le=1000)


class WebhookSettings(Settings):
    """What Meta's webhooks are verified with."""

    meta_app_secret: SecretStr = Field(min_length=1)
    instagram_app_secret: SecretStr | None = None
    meta_verify_token: SecretStr = Field(min_length=1)

    @property
    def app_secrets(self) -> tuple[bytes, ...]:
        """Instagram Login apps sign with their own secret, all others with the Meta app's: try both."""
        secrets = (self.meta_app_secret, self.instagram_app_secret)
        return tuple(secret.get_secret_value().encode() for secret in secrets if secret)


class GraphSettings(Settings):
    """Where Meta's Graph API is. ``meta_graph_url`` points every platform at a stand-in."""

    meta_graph_version: str = Field(default="v24.0", pattern=r"^v\d+\.\d+$")
    meta_graph_url: HttpUrl | None = None
    meta_app_secret: SecretStr | None = None
    graph_timeout_seconds: float = Field(default=20.0, gt=0, le=120)


class PublicSettings(Settings):
    """``public_url``: where the internet, Meta included, reaches the gateway."""

    public_url: HttpUrl | None = None

    @property
    def base_url(self) -> str:
        """Without a last slash; empty where it is not set."""
        return str(self.public_url or "").rstrip("/")


class LoginSettings(Settings):
    """The apps that accounts are connected through; without an id that platform's login is off."""

    meta_app_id: str | None = Field(default=None, pattern=r"^\d{5,20}$")
    meta_app_secret: SecretStr | None = None
    instagram_app_id: str | None = Field(default=None, pattern=r"^\d{5,20}$")
    instagram_app_secret: SecretStr | None = None


class StorageSettings(Settings):
    """Supabase Storage for media; without it they are kept in Postgres."""

    supabase_url: HttpUrl | None = None
    supabase_service_role_key: SecretStr | None = None


class PostSettings(Settings):
    """``post_grace_seconds``: a post that is later than this is not published without being asked about."""

    post_grace_seconds: float = Field(default=3600.0, ge=60, le=7 * 86400)


class AISettings(Settings):
    """Any OpenAI-compatible server. Without ``ai_base_url`` the built-in responder answers."""

    ai_base_url: HttpUrl | None = None
    ai_api_key: SecretStr | None = None
    ai_model: str | None = None
    ai_vision_model: str | None = None
    ai_transcription_model: str | None = None
    ai_timeout_seconds: float = Field(default=60.0, gt=0, le=600)


class EncryptionSettings(Settings):
    """``token_encryption_keys``: ``id:base64key`` pairs, comma-separated; the first one encrypts."""

    token_encryption_keys: SecretStr = Field(min_length=1)


SettingsT = TypeVar("SettingsT", bound=Settings)
_PLAIN_WORDS = {"missing": "is not set", "too_short": "is empty"}


def load(settings: type[SettingsT]) -> SettingsT:
    """Read one settings class from the environment.

    Raises:
        ConfigError: one line that names every variable at fault; values are never shown.
    """
    try:
        return settings()
    except SettingsError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        raise
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']).upper()}: {_explain(fault['type'], fault['msg'])}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ConfigError(faults) from None


def _explain(kind: str, message: str) -> str:
    if kind in _PLAIN_WORDS:
        return _PLAIN_WORDS[kind]
    message = message.removeprefix("Value error, ")
    return message if message.startswith("URL") else message[:1].lower() + message[1:]


def exit_on_config_error(error: ConfigError) -> NoReturn:
    """Stop the process as a configuration fault should: one line on stderr, exit code 2."""
    sys.stderr.write(f"socialsync: configuration: {error}\n")
    raise SystemExit(2)

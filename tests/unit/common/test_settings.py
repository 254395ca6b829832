"""Settings: what a process says when one is missing or bad, and that it never says a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from socialsync_common.errors import ConfigError
from socialsync_common.settings import (
    AISettings,
    BatchSettings,
    BrokerSettings,
    DatabaseSettings,
    EncryptionSettings,
    GraphSettings,
    Settings,
    WebhookSettings,
    exit_on_config_error,
    load,
)

URL = "postgresql://shop:hunter2@db/shop"


def fault(settings: type[Settings]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(settings)
    message = str(caught.value)
    assert "\n" not in message
    assert "hunter2" not in message
    return message


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (DatabaseSettings, ["DATABASE_URL"]),
        (BrokerSettings, ["CELERY_BROKER_URL"]),
        (EncryptionSettings, ["TOKEN_ENCRYPTION_KEYS"]),
        (WebhookSettings, ["META_APP_SECRET", "META_VERIFY_TOKEN"]),
    ],
)
@pytest.mark.parametrize("empty", [False, True])
def test_each_missing_one_is_named_in_one_line(
    settings: type[Settings], names: list[str], empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if empty:
        for name in names:
            monkeypatch.setenv(name, "")
    assert fault(settings) == "; ".join(f"{name}: is not set" for name in names)


@pytest.mark.parametrize("settings", [BatchSettings, GraphSettings, AISettings])
def test_some_need_nothing(settings: type[Settings]) -> None:
    load(settings)


@pytest.mark.parametrize(
    ("settings", "name", "value", "words"),
    [
        (DatabaseSettings, "DATABASE_POOL_SIZE", "hunter2", "valid integer"),
        (DatabaseSettings, "DATABASE_POOL_SIZE", "0", "greater than or equal to 1"),
        (BrokerSettings, "CELERY_BROKER_URL", "amqp://a:hunter2@b", "must start with redis://"),
        (BatchSettings, "BATCH_WINDOW_SECONDS", "-1", "greater than 0"),
        (BatchSettings, "BATCH_WINDOW_SECONDS", "nan", "less than or equal to 60"),
        (BatchSettings, "BATCH_CAP_SECONDS", "hunter2", "valid number"),
        (GraphSettings, "META_GRAPH_VERSION", "24-hunter2", "should match pattern"),
        (GraphSettings, "META_GRAPH_URL", "ftp://a:hunter2@b", "URL scheme should be 'http' or 'https'"),
        (AISettings, "AI_BASE_URL", "hunter2", "valid URL"),
        (AISettings, "AI_TIMEOUT_SECONDS", "inf", "less than or equal to 600"),
    ],
)
def test_a_bad_one_is_named_but_not_shown(
    settings: type[Settings], name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv(name, value)
    said = fault(settings)
    assert said.startswith(f"{name}: ")
    assert words in said


def test_a_secret_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{URL}\n", encoding="utf-8")
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    assert load(DatabaseSettings).database_url.get_secret_value() == URL
    # an orchestrator may pass the plain variable on although it is empty
    monkeypatch.setenv("DATABASE_URL", "")
    assert load(DatabaseSettings).database_url.get_secret_value() == URL
    monkeypatch.setenv("DATABASE_URL", "postgresql://plain")
    assert load(DatabaseSettings).database_url.get_secret_value() == "postgresql://plain"


def test_any_setting_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "window").write_text("3.5\n", encoding="utf-8")
    monkeypatch.setenv("BATCH_WINDOW_SECONDS_FILE", str(tmp_path / "window"))
    assert load(BatchSettings).batch_window_seconds == 3.5


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read"), ("folder", "cannot read"), (b"", "is empty"), (b"\xffhunter2", "no UTF-8 text")],
)
def test_a_file_that_cannot_serve(
    content: bytes | str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    monkeypatch.setenv("DATABASE_URL_FILE", str(path))
    said = fault(DatabaseSettings)
    assert said.startswith("DATABASE_URL")
    assert words in said


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "DATABASE_URL",
        "META_APP_SECRET",
        "INSTAGRAM_APP_SECRET",
        "META_VERIFY_TOKEN",
        "AI_API_KEY",
        "TOKEN_ENCRYPTION_KEYS",
    ):
        monkeypatch.setenv(name, URL)
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:hunter2@cache/0")
    for settings in (
        DatabaseSettings,
        BrokerSettings,
        WebhookSettings,
        GraphSettings,
        AISettings,
        EncryptionSettings,
    ):
        loaded = load(settings)
        assert "hunter2" not in f"{loaded!r} {loaded} {loaded.model_dump_json()}"


def test_app_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_APP_SECRET", "meta")
    monkeypatch.setenv("META_VERIFY_TOKEN", "verify")
    assert load(WebhookSettings).app_secrets == (b"meta",)
    monkeypatch.setenv("INSTAGRAM_APP_SECRET", "insta")
    assert load(WebhookSettings).app_secrets == (b"meta", b"insta")


@pytest.mark.parametrize(
    ("broker", "redis_url"),
    [
        ("redis://cache:6379/1", "redis://cache:6379/1"),
        ("rediss://cache", "rediss://cache"),
        ("redis+socket:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_one_broker_url_serves_celery_and_redis(
    broker: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", broker)
    assert load(BrokerSettings).redis_url == redis_url


def test_a_fault_stops_the_process_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        exit_on_config_error(ConfigError("DATABASE_URL: is not set"))
    assert caught.value.code == 2
    assert capsys.readouterr().err == "socialsync: configuration: DATABASE_URL: is not set\n"

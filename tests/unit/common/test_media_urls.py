"""Signed URLs of media: who signed, for how long, and that nothing else is accepted."""

from __future__ import annotations

import base64
import random
import time
from uuid import uuid4

import pytest

from socialsync_common.errors import ConfigError
from socialsync_common.media_urls import EXTENSIONS, MediaUrlExpired, MediaUrlForged, MediaUrls
from socialsync_common.settings import EncryptionSettings

TENANT, MEDIA = uuid4(), uuid4()
OLD, NEW, OTHER = (
    f"{name}:{base64.b64encode(name[0].encode() * 32).decode()}" for name in ("old", "new", "x")
)


def urls(*keys: str, base_url: str = "https://social.example") -> MediaUrls:
    return MediaUrls(base_url, EncryptionSettings(token_encryption_keys=",".join(keys)))


def token_of(url: str) -> str:
    return url.rpartition("/")[2].partition(".")[0]


def test_a_url_names_its_medium() -> None:
    now = time.time()
    for mime_type, extension in EXTENSIONS.items():
        url = urls(NEW, base_url="https://social.example/").url(TENANT, MEDIA, mime_type)
        assert url.startswith("https://social.example/api/media/")
        assert url.endswith(f".{extension}")
        assert urls(NEW).read(token_of(url), now) == (TENANT, MEDIA)
        assert token_of(url).isascii()
        assert "=" not in url


def test_a_url_expires() -> None:
    now = time.time()
    token = token_of(urls(NEW).url(TENANT, MEDIA, "image/jpeg", valid_seconds=60))
    assert urls(NEW).read(token, now + 58) == (TENANT, MEDIA)
    with pytest.raises(MediaUrlExpired, match="ask for a new one"):
        urls(NEW).read(token, now + 61)


def test_keys_are_rotated() -> None:
    now = time.time()
    before = token_of(urls(OLD).url(TENANT, MEDIA, "image/png"))
    after = token_of(urls(NEW, OLD).url(TENANT, MEDIA, "image/png"))
    assert urls(NEW, OLD).read(before, now) == (TENANT, MEDIA)
    assert urls(NEW).read(after, now) == (TENANT, MEDIA)
    with pytest.raises(MediaUrlForged):
        urls(NEW).read(before, now)
    with pytest.raises(MediaUrlForged):
        urls(OTHER, OLD).read(after, now)


def test_the_key_itself_signs_nothing() -> None:
    """A key of the same bytes that is used for something else must not be able to sign here."""
    url = urls(OLD)
    assert base64.b64decode(OLD.partition(":")[2]) not in url._keys


def test_every_change_is_noticed() -> None:
    now = time.time()
    reader = urls(NEW, OLD)
    token = token_of(urls(NEW).url(TENANT, MEDIA, "video/mp4"))
    chance = random.Random(1)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for position in range(len(token)):
        letter = chance.choice(letters.replace(token[position], ""))
        with pytest.raises(MediaUrlForged):
            reader.read(token[:position] + letter + token[position + 1 :], now)
    for length in range(len(token)):
        with pytest.raises(MediaUrlForged):
            reader.read(token[:length], now)


@pytest.mark.parametrize(
    "token", ["", "x", "é", "a b", "A" * 96, "A" * 95, "A" * 10_000, "==", "+/" * 48, "\x00", "\ud800"]
)
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(MediaUrlForged):
        urls(NEW).read(token, 0)


def test_without_a_public_address_urls_are_only_read() -> None:
    token = token_of(urls(NEW).url(TENANT, MEDIA, "image/jpeg"))
    without = urls(NEW, base_url="")
    assert without.read(token, time.time()) == (TENANT, MEDIA)
    with pytest.raises(ConfigError, match="PUBLIC_URL is not set"):
        without.url(TENANT, MEDIA, "image/jpeg")


def test_faults_of_the_caller() -> None:
    with pytest.raises(ValueError, match="text/html"):
        urls(NEW).url(TENANT, MEDIA, "text/html")
    with pytest.raises(ConfigError, match="entry 2"):
        urls(NEW, "old:short")

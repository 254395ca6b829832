"""Stored webhook bodies: which files are such, where each is posted, and which accounts it is for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from socialsync_common.contracts import Platform
from socialsync_common.errors import ConfigError

_INDEX = "index.json"
_PLATFORM_OF_OBJECT = {
    "whatsapp_business_account": Platform.WHATSAPP,
    "instagram": Platform.INSTAGRAM,
    "page": Platform.MESSENGER,
}


@dataclass(frozen=True, slots=True)
class WebhookFile:
    """``raw`` is posted as it is; ``name`` is the file's path below the folder that was named."""

    name: str
    raw: bytes
    platform: Platform
    receiving_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    name: str
    reason: str


def read(paths: Iterable[Path]) -> Iterator[WebhookFile | Skipped]:
    """Each file, and each ``*.json`` of each folder, in order of name.

    Raises:
        ConfigError: a path is not there or cannot be read.
    """
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*.json")):
                yield _read(file, file.relative_to(path).as_posix())
        elif path.is_file():
            yield _read(path, path.name)
        else:
            raise ConfigError(f"{path}: no such file or folder")


def _read(path: Path, name: str) -> WebhookFile | Skipped:
    if path.name == _INDEX:
        return Skipped(name, "an index")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    try:
        body = json.loads(raw)
    except ValueError:
        return Skipped(name, "not JSON")
    if reason := why_not(body):
        return Skipped(name, reason)
    return WebhookFile(name, raw, platform_of(body), tuple(receiving_ids(body)))


def why_not(body: Any) -> str | None:
    """Why a parsed file is not a webhook body; None where it is one."""
    if not isinstance(body, dict):
        return "not a webhook body"
    if "http_status" in body:
        return "a Graph answer"
    return None if "object" in body or "entry" in body else "not a webhook body"


def platform_of(body: Mapping[str, Any]) -> Platform:
    """Whose webhook path the body belongs to; WhatsApp's where it does not say."""
    kind = body.get("object")
    return _PLATFORM_OF_OBJECT.get(kind if isinstance(kind, str) else "", Platform.WHATSAPP)


def receiving_ids(body: Mapping[str, Any]) -> list[str]:
    """The accounts that the body is for, each once: phone number ids, Instagram account ids, Page ids."""
    find = _phone_number_ids if platform_of(body) is Platform.WHATSAPP else _account_ids
    found = (one for entry in _dicts(body.get("entry")) for one in find(entry))
    return list(dict.fromkeys(found))


def _phone_number_ids(entry: Mapping[str, Any]) -> Iterator[str]:
    for change in _dicts(entry.get("changes")):
        yield from _id(_dict(_dict(change.get("value")).get("metadata")), "phone_number_id")


def _account_ids(entry: Mapping[str, Any]) -> list[str]:
    """The entry's own id where it is a real one, all digits; else whom its messages are addressed to, if any."""
    own = list(_id(entry, "id"))
    if own and own[0].isdigit():
        return own
    addressed = [
        one
        for key in ("messaging", "standby")
        for item in _dicts(entry.get(key))
        for one in _id(_dict(item.get(_account_side(item))), "id")
    ]
    return addressed or own


def _account_side(item: Mapping[str, Any]) -> str:
    """An echo is what the account said itself."""
    return "sender" if _dict(item.get("message")).get("is_echo") else "recipient"


def _id(holder: Mapping[str, Any], key: str) -> Iterator[str]:
    value = holder.get(key)
    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        yield str(value)


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> Iterator[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())

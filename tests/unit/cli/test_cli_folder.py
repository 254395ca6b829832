"""The data folder: its secrets last and are private, and one run holds it."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from socialsync_cli.folder import DataFolder, Running
from socialsync_common.crypto import TokenCipher
from socialsync_common.errors import ConfigError
from socialsync_common.settings import EncryptionSettings

RUNNING = Running(1, "http://127.0.0.1:8000", None, {"META_APP_SECRET": "hidden"})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    made = folder.secrets()
    assert DataFolder(tmp_path / "data").secrets() == made
    assert mode(folder.env_path) == 0o600
    key_id, _, key = made["TOKEN_ENCRYPTION_KEYS"].partition(":")
    assert (key_id, len(base64.b64decode(key))) == ("k1", 32)
    TokenCipher(EncryptionSettings(token_encryption_keys=made["TOKEN_ENCRYPTION_KEYS"]))
    assert made != DataFolder(tmp_path / "other").secrets()


def test_what_a_person_wrote_into_it_stays(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.env_path.write_text("# ours\nMETA_APP_SECRET = mine\n\n", "utf-8")
    assert folder.secrets()["META_APP_SECRET"] == "mine"
    folder.remember({"META_APP_SECRET": "new=one"})
    assert folder.read_secrets()["META_APP_SECRET"] == "new=one"
    assert mode(folder.env_path) == 0o600


def test_a_bad_line_is_named_without_its_content(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.env_path.write_text("A=1\nsecret without a name\n", "utf-8")
    with pytest.raises(ConfigError, match=r"env: line 2 is not NAME=value$"):
        folder.secrets()


def test_reading_makes_nothing(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    assert folder.read_secrets() == {}
    assert folder.running() is None
    assert not folder.path.exists()


def test_one_run_holds_it_and_others_find_it(tmp_path: Path) -> None:
    folder, other = DataFolder(tmp_path), DataFolder(tmp_path)
    with folder.locked():
        folder.announce(RUNNING)
        assert other.running() == RUNNING
        assert mode(tmp_path / "run.json") == 0o600
        with pytest.raises(ConfigError, match="another `socialsync run` uses"), other.locked():
            pass
    assert other.running() is None


def test_what_a_killed_run_left_is_not_believed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with folder.locked():
        pass
    folder.announce(RUNNING)
    assert folder.running() is None


def test_a_folder_that_cannot_be_made_is_a_fault_of_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="choose another --data"), DataFolder(tmp_path / "file").locked():
        pass

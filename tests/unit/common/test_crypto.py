"""Tokens at rest: opened by their own account only, with whichever key sealed them."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socialsync_common.crypto import TokenCipher
from socialsync_common.errors import ConfigError, PermanentError
from socialsync_common.settings import EncryptionSettings

TENANT, OTHER_TENANT = UUID(int=1), UUID(int=2)
ACCOUNT, OTHER_ACCOUNT = UUID(int=3), UUID(int=4)
KEY_A, KEY_B = (base64.b64encode(letter * 32).decode() for letter in (b"a", b"b"))


def cipher(keys: str) -> TokenCipher:
    return TokenCipher(EncryptionSettings(token_encryption_keys=keys))


ONE = cipher(f"k1:{KEY_A}")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_opens_again(token: str) -> None:
    sealed = ONE.encrypt(token, TENANT, ACCOUNT)
    assert ONE.decrypt(sealed, TENANT, ACCOUNT) == token


def test_the_token_is_not_in_what_is_stored_and_no_two_are_alike() -> None:
    one, two = (ONE.encrypt("EAAG-token", TENANT, ACCOUNT) for _ in range(2))
    assert one != two
    assert one.startswith(b"k1:")
    assert b"EAAG" not in one


@pytest.mark.parametrize(
    ("tenant", "account"),
    [
        (OTHER_TENANT, ACCOUNT),
        (TENANT, OTHER_ACCOUNT),
        (OTHER_TENANT, OTHER_ACCOUNT),
        (ACCOUNT, TENANT),
    ],
)
def test_a_copied_row_opens_nothing(tenant: UUID, account: UUID) -> None:
    with pytest.raises(PermanentError, match=f"account {account}: its token does not decrypt"):
        ONE.decrypt(ONE.encrypt("EAAG-token", TENANT, ACCOUNT), tenant, account)


@given(st.data())
def test_an_altered_row_opens_nothing(data: st.DataObject) -> None:
    sealed = bytearray(ONE.encrypt("EAAG-token", TENANT, ACCOUNT))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PermanentError) as caught:
        ONE.decrypt(bytes(sealed), TENANT, ACCOUNT)
    assert "EAAG" not in str(caught.value)


def test_a_row_that_was_cut_off_opens_nothing() -> None:
    sealed = ONE.encrypt("EAAG-token", TENANT, ACCOUNT)
    for end in range(len(sealed)):
        with pytest.raises(PermanentError, match="reconnect the account"):
            ONE.decrypt(sealed[:end], TENANT, ACCOUNT)


def test_rotation() -> None:
    """A new key in front: new rows are sealed with it, old ones still open; until the old key goes."""
    old = ONE.encrypt("EAAG-token", TENANT, ACCOUNT)
    both = cipher(f"k2:{KEY_B}, k1:{KEY_A}")
    assert both.decrypt(old, TENANT, ACCOUNT) == "EAAG-token"
    new = both.encrypt("EAAG-token", TENANT, ACCOUNT)
    assert new.startswith(b"k2:")
    later = cipher(f"k2:{KEY_B}")
    assert later.decrypt(new, TENANT, ACCOUNT) == "EAAG-token"
    with pytest.raises(PermanentError, match="TOKEN_ENCRYPTION_KEYS: add the key, or reconnect"):
        later.decrypt(old, TENANT, ACCOUNT)


def test_another_key_of_the_same_id_opens_nothing() -> None:
    with pytest.raises(PermanentError, match="does not decrypt"):
        cipher(f"k1:{KEY_B}").decrypt(ONE.encrypt("EAAG-token", TENANT, ACCOUNT), TENANT, ACCOUNT)


@pytest.mark.parametrize(
    ("keys", "entry"),
    [
        ("k1", 1),
        (f":{KEY_A}", 1),
        (KEY_A, 1),
        (f"clé:{KEY_A}", 1),
        ("k1:é", 1),
        (f"k1:{KEY_A[:-4]}", 1),
        (f"k1:{KEY_A}!", 1),
        (f"k1:{base64.b64encode(b'a' * 16).decode()}", 1),
        (f"k1:{KEY_A},", 2),
        (f"k1:{KEY_A},k2:hunter2", 2),
        (f"k1:{KEY_A},k2:{KEY_B},k1:{KEY_B}", 3),
    ],
)
def test_a_bad_entry_is_named_but_not_shown(keys: str, entry: int) -> None:
    with pytest.raises(ConfigError, match=f"TOKEN_ENCRYPTION_KEYS: entry {entry} ") as caught:
        cipher(keys)
    assert KEY_A[:8] not in str(caught.value)
    assert "hunter2" not in str(caught.value)

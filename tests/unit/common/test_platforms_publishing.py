"""What an answer to a publishing call proves, and what of it may be stored."""

from __future__ import annotations

from typing import Any

import pytest

from socialsync_common.contracts import Platform, PostKind
from socialsync_common.errors import (
    AuthenticationExpired,
    PermanentError,
    SocialSyncError,
    TransientError,
    UnknownOutcome,
)
from socialsync_common.platforms.publishing import (
    Channel,
    ContainerState,
    Draft,
    Duplicate,
    NotReady,
    Unreadable,
    classify_publishing,
    failed_container,
    id_of,
    link_of,
    rows_of,
    shown,
    text_of,
)


def error(code: Any, subcode: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "error": {"message": "no", "code": code, **({"error_subcode": subcode} if subcode else {}), **more}
    }


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error(9007, 2207027), NotReady),
        (400, error(9004, 2207052, is_transient=False), TransientError),
        (400, error(324, 2069019), TransientError),
        (400, error(36001, 2207083), PermanentError),
        (400, error(352), PermanentError),
        (403, error(9, 2207042), TransientError),
        (400, error(9, 2207042), TransientError),
        (400, error(506, 1455006), Duplicate),
        (400, error(24, 2207006), Unreadable),
        (400, error(100, 33), Unreadable),
        (400, error(100), PermanentError),
        (400, error(368, 1390008), TransientError),
        (400, error(4), TransientError),
        (400, error(17), TransientError),
        (400, error(341), TransientError),
        (400, error(80002), TransientError),
        (429, None, TransientError),
        (403, error(10), PermanentError),
        (403, error(200), PermanentError),
        (400, error(190, 463), AuthenticationExpired),
        (401, error(190), AuthenticationExpired),
        (400, error("190", "463"), AuthenticationExpired),
        # the post is live although the call was refused, or because an earlier one was not
        (400, error(4, 2207051), UnknownOutcome),
        (403, error(4, 2207051), UnknownOutcome),
        (400, error(100, 1363129), UnknownOutcome),
        # faults that say nothing about the call
        (400, error(1), UnknownOutcome),
        (400, error(2, is_transient=True), UnknownOutcome),
        (500, error(1), UnknownOutcome),
        (503, None, UnknownOutcome),
        (408, error(100), UnknownOutcome),
        (302, None, UnknownOutcome),
    ],
)
def test_what_an_answer_proves(status: int, body: Any, kind: type[SocialSyncError]) -> None:
    found = classify_publishing(status, body)
    assert isinstance(found, kind)
    if kind in (TransientError, PermanentError):
        assert type(found) is kind


@pytest.mark.parametrize("code", [9, 10, 24, 100, 190, 324, 352, 368, 506, 9004, 9007, 36001])
@pytest.mark.parametrize("status", [200, 201, 302, 408, 500, 502])
def test_a_code_proves_nothing_where_the_status_contradicts_it(status: int, code: int) -> None:
    assert isinstance(classify_publishing(status, error(code, 33 if code == 100 else None)), UnknownOutcome)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "no",
        7,
        {},
        {"error": None},
        {"error": "no"},
        {"error": []},
        error(True),
        error(9007.5),
        error({}),
    ],
)
def test_garbage_proves_nothing_but_its_status(body: Any) -> None:
    assert isinstance(classify_publishing(200, body), UnknownOutcome)
    assert isinstance(classify_publishing(502, body), UnknownOutcome)
    assert type(classify_publishing(400, body)) is PermanentError


def test_what_meta_says_to_people_is_shown_and_can_be_stored() -> None:
    found = classify_publishing(
        400, error(36003, error_user_msg="The ratio\x00 is\nwrong \ud800" + "x" * 500)
    )
    assert "The ratio" in str(found)
    assert len(str(found)) < 500
    str(found).encode()
    assert "\x00" not in str(found)
    assert "(" not in str(classify_publishing(400, error(36003, error_user_msg=["no"])))


@pytest.mark.parametrize(
    ("words", "may_succeed"),
    [
        ("Error: Media upload has failed with error code 2207052", True),
        ("Error: Media upload has failed with error code 2207026", False),
        ("Error: 2207001", True),
        ("Error: 12207052", True),  # no code that is known: worth another try
        ("", True),
    ],
)
def test_which_failed_containers_are_worth_another_try(words: str, may_succeed: bool) -> None:
    container = failed_container(words)
    assert (container.state, container.may_succeed) == (ContainerState.FAILED, may_succeed)
    assert container.reason


def test_a_failed_containers_words_can_be_stored() -> None:
    assert "\x00" not in failed_container("Error:\x00 2207026").reason
    failed_container("\ud800").reason.encode()


@pytest.mark.parametrize("value", [None, "", True, 1.5, [], {}, "a\x00b", "\ud800", "ä", "a\nb"])
def test_what_is_no_id(value: Any) -> None:
    assert id_of({"id": value}) is None
    with pytest.raises(UnknownOutcome):
        text_of({"id": value}, "id")


def test_ids() -> None:
    assert id_of({"id": 17900}) == "17900"
    assert text_of({"post_id": "1_2"}, "post_id") == "1_2"
    with pytest.raises(UnknownOutcome, match="gave no id"):
        text_of({}, "id")


@pytest.mark.parametrize(
    "value", [None, 7, [], {"url": "https://x"}, "javascript:alert(1)", "https://x\x00", "https://\ud800"]
)
def test_what_is_no_link(value: Any) -> None:
    assert link_of({"permalink": value}, "permalink") is None


def test_links() -> None:
    assert (
        link_of({"permalink": "https://www.instagram.com/p/a/"}, "permalink")
        == "https://www.instagram.com/p/a/"
    )
    assert link_of({}, "permalink") is None


@pytest.mark.parametrize(
    "answer", [None, [], "no", {}, {"data": None}, {"data": {"id": 1}}, {"data": [1, None, "x"]}]
)
def test_what_has_no_rows(answer: Any) -> None:
    assert rows_of(answer) == []


def test_shown() -> None:
    assert shown(None) == "None"
    assert shown(" a\nb\x00 ") == "a b"
    assert len(shown("x" * 1000)) == 300


def test_neither_a_token_nor_a_text_shows() -> None:
    assert "secret" not in repr(Channel(Platform.INSTAGRAM, "1", "secret"))
    assert "secret" not in repr(Draft(PostKind.TEXT, "secret"))

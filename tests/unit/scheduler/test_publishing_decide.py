from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from socialsync_common.contracts import Platform, PostKind
from socialsync_common.errors import PermanentError, TransientError, UnknownOutcome
from socialsync_common.platforms.publishing import Container, ContainerState, Duplicate, NotReady, Unreadable
from socialsync_scheduler.publishing import decide
from socialsync_scheduler.publishing.schemas import (
    Again,
    Ask,
    Closed,
    Confirm,
    Create,
    Fail,
    Finish,
    Launch,
    Poll,
    Reconcile,
    Step,
    Target,
    Wait,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GRACE = timedelta(hours=1)
TARGET = Target(
    id=UUID(int=1),
    tenant_id=UUID(int=2),
    post_id=UUID(int=3),
    account_id=UUID(int=4),
    kind=PostKind.IMAGE,
    text="bread",
    first_comment=None,
    media=(),
    due_at=NOW + timedelta(seconds=30),
    status="queued",
    phase=None,
    container_ids=(),
    container_at=None,
    attempt=0,
    publishes=0,
    publish_called_at=None,
    media_id=None,
    permalink=None,
    comment_status=None,
    comment_attempt=0,
)
MADE = replace(TARGET, phase="creating", container_ids=("c1",), container_at=NOW)
READY = replace(MADE, phase="container_ready")
CALLED = replace(
    READY, phase="publish_called", status="publishing", publishes=1, due_at=NOW - timedelta(minutes=1),
    publish_called_at=NOW - timedelta(minutes=1),
)  # fmt: skip
LIVE = replace(CALLED, phase="confirmed", status="published", media_id="m1")
LATE = {"due_at": NOW - GRACE - timedelta(seconds=1)}


def step(target: Target, *, active: bool = True, pieces: int = 1) -> Step:
    return decide.next_step(target, NOW, account_active=active, grace=GRACE, pieces=pieces)


def container(state: ContainerState, *, may_succeed: bool = False) -> Container:
    return Container(state, "because", may_succeed=may_succeed)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (TARGET, Create()),
        (MADE, Poll()),
        (READY, Launch(TARGET.due_at)),
        (replace(READY, due_at=NOW - timedelta(minutes=2)), Launch(NOW)),
        (CALLED, Reconcile()),
        (replace(CALLED, **LATE), Reconcile()),
        (LIVE, Finish()),
        (replace(LIVE, permalink="https://x"), Closed()),
        (replace(LIVE, permalink="https://x", comment_status="pending"), Finish()),
        (replace(LIVE, permalink="https://x", comment_status="sending"), Finish()),
        (replace(LIVE, permalink="https://x", comment_status="failed"), Closed()),
        (replace(TARGET, status="cancelled"), Closed()),
        (replace(TARGET, **LATE), Ask(decide.MISSED, missed=True)),
        (replace(READY, **LATE), Ask(decide.MISSED, missed=True)),
        # its own pauses do not make a post a missed one
        (replace(READY, **LATE, attempt=1), Launch(NOW)),
        # containers that are about to expire are made anew
        (replace(READY, container_at=NOW - timedelta(hours=23, seconds=1)), Create()),
    ],
)
def test_what_is_next(target: Target, expected: Step) -> None:
    assert step(target) == expected


def test_a_carousel_needs_all_its_containers() -> None:
    assert step(MADE, pieces=3) == Create()
    assert step(replace(MADE, container_ids=("a", "b", "c")), pieces=3) == Poll()


def test_a_post_without_containers_is_ready_after_a_look() -> None:
    assert step(TARGET, pieces=0) == Poll()


def test_an_account_that_must_be_reconnected_holds_its_posts() -> None:
    assert step(TARGET, active=False) == Wait(NOW, decide.STOPPED)
    assert step(replace(TARGET, **LATE), active=False) == Ask(decide.MISSED, missed=True)
    assert isinstance(step(CALLED, active=False), Wait)
    assert step(replace(CALLED, **LATE), active=False) == Ask(decide.UNCERTAIN)
    assert step(LIVE, active=False) == Wait(NOW, decide.STOPPED)
    assert step(replace(LIVE, **LATE), active=False) == Closed()


@pytest.mark.parametrize("attempt", range(4))
def test_a_container_that_was_not_made_is_tried_three_times_more(attempt: int) -> None:
    target = replace(TARGET, attempt=attempt)
    for error in (TransientError("no"), UnknownOutcome("perhaps")):
        verdict = decide.after_create_error(target, error, NOW)
        if attempt == 3:
            assert isinstance(verdict, Fail)
            assert "4 attempts" in verdict.reason
        else:
            assert verdict == Again(NOW + decide.CREATE_PAUSES[attempt], str(error))


def test_what_creation_proves() -> None:
    assert decide.after_create_error(TARGET, PermanentError("bad format"), NOW) == Fail("bad format")
    assert isinstance(decide.after_create_error(MADE, NotReady("children"), NOW), Wait)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (container(ContainerState.READY), Launch),
        (container(ContainerState.PUBLISHED), Confirm),
        (container(ContainerState.WORKING), Wait),
        (container(ContainerState.EXPIRED), Again),
        (container(ContainerState.FAILED), Fail),
        (container(ContainerState.FAILED, may_succeed=True), Again),
    ],
)
def test_what_a_container_says_before_the_call(found: Container, expected: type) -> None:
    verdict = decide.after_look(MADE, found, NOW)
    assert isinstance(verdict, expected)
    if isinstance(verdict, Again):
        assert verdict.fresh


def test_processing_has_a_limit_and_is_polled_less_and_less() -> None:
    working = container(ContainerState.WORKING)
    pauses = []
    for age in (0, 10, 60, 600):
        verdict = decide.after_look(replace(MADE, container_at=NOW - timedelta(seconds=age)), working, NOW)
        assert isinstance(verdict, Wait)
        pauses.append((verdict.until - NOW).total_seconds())
    assert pauses == [3, 5, 30, 60]
    slow = replace(MADE, container_at=NOW - timedelta(hours=1, seconds=1))
    assert isinstance(decide.after_look(slow, working, NOW), Again)


@pytest.mark.parametrize("platform", [Platform.INSTAGRAM, Platform.MESSENGER])
def test_only_proof_leads_to_another_publish_call(platform: Platform) -> None:
    def after(error: Exception, publishes: int = 1) -> object:
        target = replace(CALLED, publishes=publishes)
        return decide.after_publish_error(target, platform, error, NOW)  # type: ignore[arg-type]

    assert isinstance(after(UnknownOutcome("lost")), Wait)
    assert after(TransientError("never left")) == Again(NOW + timedelta(seconds=300), "never left")
    assert after(NotReady("soon")) == Again(NOW + decide.RECHECK, "soon", counted=False)
    assert after(PermanentError("refused")) == Fail("refused")
    assert after(Duplicate("same")) == Fail("same")
    assert isinstance(after(Duplicate("same"), publishes=2), Wait)
    assert isinstance(after(Unreadable("gone")), Wait if platform is Platform.INSTAGRAM else Fail)


def test_three_retries_of_five_minutes() -> None:
    for attempt in range(3):
        verdict = decide.after_publish_error(
            replace(CALLED, attempt=attempt), Platform.INSTAGRAM, TransientError("no"), NOW
        )
        assert verdict == Again(NOW + timedelta(seconds=300), "no")
    last = decide.after_publish_error(
        replace(CALLED, attempt=3), Platform.INSTAGRAM, TransientError("no"), NOW
    )
    assert isinstance(last, Fail)


@pytest.mark.parametrize(
    ("state", "publishes", "seconds", "expected"),
    [
        (ContainerState.PUBLISHED, 1, 1, Confirm),
        (ContainerState.READY, 1, 5, Wait),  # the call may still be on its way in
        (ContainerState.READY, 1, 31, Launch),  # once more, at once
        (ContainerState.READY, 2, 31, Again),  # then with pauses
        (ContainerState.WORKING, 1, 31, Wait),
        (ContainerState.WORKING, 1, 901, Ask),
        (ContainerState.EXPIRED, 1, 31, Again),
        (ContainerState.FAILED, 1, 31, Again),
    ],
)
def test_what_a_container_says_after_the_call(
    state: ContainerState, publishes: int, seconds: int, expected: type
) -> None:
    target = replace(CALLED, publishes=publishes, publish_called_at=NOW - timedelta(seconds=seconds))
    assert isinstance(decide.after_reconcile(target, container(state), None, NOW), expected)


def test_a_feed_proves_presence_and_never_absence() -> None:
    young = replace(CALLED, publish_called_at=NOW - timedelta(seconds=20))
    old = replace(CALLED, publish_called_at=NOW - timedelta(seconds=121))
    assert decide.after_reconcile(old, None, "p1", NOW) == Confirm()
    assert isinstance(decide.after_reconcile(young, None, None, NOW), Wait)
    assert decide.after_reconcile(old, None, None, NOW) == Ask(decide.UNCERTAIN)


def test_a_platform_that_cannot_be_asked() -> None:
    assert decide.after_reconcile_error(CALLED, Unreadable("gone"), NOW) == Ask(decide.UNCERTAIN)
    assert isinstance(decide.after_reconcile_error(CALLED, UnknownOutcome("down"), NOW), Wait)
    old = replace(CALLED, publish_called_at=NOW - timedelta(minutes=16))
    assert decide.after_reconcile_error(old, UnknownOutcome("down"), NOW) == Ask(decide.UNCERTAIN)

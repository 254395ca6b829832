from __future__ import annotations

from structlog.testing import capture_logs

from socialsync_common.election import Elector, Timing
from socialsync_common.errors import TransientError

TERM = 2.5


class SlowLock:
    """A lock whose store answers what it is told, after ``latency`` seconds of the test's clock."""

    timing = Timing(term=TERM, renew=0.8, retry=0.25)

    def __init__(self, *answers: int | bool | Exception | None, latency: float = 0.0) -> None:
        self.now = 1000.0
        self.latency = latency
        self.answers = list(answers)
        self.released = 0

    def clock(self) -> float:
        return self.now

    def acquire(self, identity: str) -> int | None:
        return self._answer()

    def renew(self, identity: str) -> bool:
        return bool(self._answer())

    def release(self, identity: str) -> None:
        self.released += 1

    def _answer(self) -> int | None:
        self.now += self.latency
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def elector(lock: SlowLock) -> Elector:
    return Elector(lock, "a", clock=lock.clock)


def token(candidate: Elector) -> int | None:
    term = candidate.term()
    return term.token if term else None


def test_nobody_leads_before_the_lock_is_won() -> None:
    candidate = elector(SlowLock(None))
    assert candidate.term() is None
    candidate.attempt()
    assert candidate.term() is None


def test_a_term_is_counted_from_when_its_request_was_sent() -> None:
    lock = SlowLock(3, latency=2.0)
    leader = elector(lock)
    leader.attempt()
    assert token(leader) == 3
    lock.now = 1000.0 + TERM - 0.01
    assert token(leader) == 3
    lock.now = 1000.0 + TERM
    assert leader.term() is None


def test_an_answer_that_took_too_long_wins_nothing() -> None:
    lock = SlowLock(3, latency=TERM)
    leader = elector(lock)
    leader.attempt()
    assert leader.term() is None


def test_a_renewal_extends_the_term_and_keeps_it() -> None:
    lock = SlowLock(3, True)
    leader = elector(lock)
    leader.attempt()
    term = leader.term()
    assert term
    lock.now += 0.8
    leader.attempt()
    lock.now += TERM - 0.01
    assert leader.holds(term)
    lock.now += 0.01
    assert not leader.holds(term)


def test_a_failed_renewal_does_not_end_the_term_early_nor_extend_it() -> None:
    lock = SlowLock(3, TransientError("away"))
    leader = elector(lock)
    leader.attempt()
    lock.now += 1.0
    leader.attempt()
    assert token(leader) == 3
    lock.now += TERM - 1.0
    assert leader.term() is None


def test_a_lost_lock_ends_the_term_at_once_and_it_runs_again() -> None:
    lock = SlowLock(3, False, None)
    leader = elector(lock)
    leader.attempt()
    leader.attempt()
    assert leader.term() is None
    assert lock.answers == []  # the campaign follows in the same round


def test_a_process_that_slept_past_its_term_begins_a_new_one() -> None:
    lock = SlowLock(3, 4)
    leader = elector(lock)
    leader.attempt()
    term = leader.term()
    lock.now += TERM + 60
    assert leader.term() is None
    leader.attempt()
    assert token(leader) == 4
    assert term
    assert not leader.holds(term)


def test_who_resigns_leads_only_after_the_store_said_so_again() -> None:
    lock = SlowLock(3, 3)
    leader = elector(lock)
    leader.attempt()
    term = leader.term()
    leader.resign()
    assert leader.term() is None
    leader.attempt()
    assert token(leader) == 3
    assert term
    assert not leader.holds(term)


def test_an_outage_is_logged_once_and_its_end_once() -> None:
    away = TransientError("away")
    lock = SlowLock(away, away, away, None, away, None)
    candidate = elector(lock)
    with capture_logs() as logs:
        for _ in range(6):
            candidate.attempt()
            lock.now += lock.timing.retry
    assert [line["event"] for line in logs] == ["outage.began", "outage.over"] * 2

"""Open conversations in a real Redis: when a batch is due, and that it is one worker's at a time.

Time passes by tiny windows that are waited for, or by moving a recorded time into the past.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from socialsync_common.batches import (
    ADD_SCRIPT,
    CROWDED_LANE_KEY,
    DEADLINES,
    FAIR_SHARE,
    LANE_KEY,
    LEASES,
    QUEUED_LEASE_SECONDS,
    QUEUED_LIMIT_SECONDS,
    STARTED_LEASE_SECONDS,
    WAKE,
    Batches,
    ConversationName,
    add_arguments,
)
from socialsync_common.contracts import Platform
from socialsync_common.settings import BatchSettings

pytestmark = pytest.mark.integration

AT_ONCE = BatchSettings(batch_max_messages=1)
SLOW = BatchSettings(batch_window_seconds=60, batch_cap_seconds=300)


def named(contact: int, account: int = 1) -> str:
    return str(ConversationName(Platform.WHATSAPP, UUID(int=account), UUID(int=contact)))


ONE, TWO = named(1), named(2)


@pytest.fixture
def batches(redis_client: redis.Redis) -> Batches:
    return Batches(redis_client)


def add(client: redis.Redis, settings: BatchSettings, *waiting: tuple[str, int]) -> int:
    """What the gateway does with the messages of a webhook."""
    return int(client.eval(ADD_SCRIPT, 0, *add_arguments(settings, waiting)))


def now_ms(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def deadline(client: redis.Redis, name: str) -> float | None:
    return client.zscore(DEADLINES, name)


def run_out(client: redis.Redis, name: str) -> None:
    """The lease's time passes."""
    assert client.zadd(LEASES, {name: 1}, xx=True, ch=True) == 1


def claim_one(batches: Batches, prefix: str = "a") -> tuple[str, str]:
    (lease,) = batches.claim(10, prefix).leased
    return lease.name, lease.token


def claimed(batches: Batches, prefix: str = "z", limit: int = 100) -> list[str]:
    return [lease.name for lease in batches.claim(limit, prefix).leased]


def eventually_claimed(batches: Batches, seconds: float = 5.0) -> list[str]:
    """As the scan does: sleeps to the next deadline between claims."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        claim = batches.claim(10, "late")
        if claim.leased:
            return [lease.name for lease in claim.leased]
        batches.wait(0.5 if claim.next_in is None else claim.next_in)
    pytest.fail("nothing became due")


def test_a_name_holds_internal_ids_only() -> None:
    name = ConversationName.parse(ONE)
    assert name == ConversationName(Platform.WHATSAPP, UUID(int=1), UUID(int=1))
    assert str(name) == ONE
    for other in ("", "whatsapp:1:2", f"sms:{UUID(int=1)}:{UUID(int=2)}", f"{ONE}:x"):
        with pytest.raises(ValueError):
            ConversationName.parse(other)


def test_each_message_moves_the_window(redis_client: redis.Redis, batches: Batches) -> None:
    before = now_ms(redis_client)
    assert add(redis_client, BatchSettings(batch_window_seconds=30, batch_cap_seconds=300), (ONE, 1)) == 1
    first = deadline(redis_client, ONE)
    assert first is not None
    assert before + 30_000 <= first <= now_ms(redis_client) + 30_000
    before = now_ms(redis_client)
    assert add(redis_client, SLOW, (ONE, 2), (ONE, 3)) == 2
    second = deadline(redis_client, ONE)
    assert second is not None
    assert before + 60_000 <= second <= now_ms(redis_client) + 60_000
    assert redis_client.lrange(f"conv:{ONE}:msgs", 0, -1) == [b"1", b"2", b"3"]
    claim = batches.claim(10, "a")
    assert claim.leased == ()
    assert claim.next_in is not None
    assert 59 < claim.next_in <= 60


def test_a_message_that_waits_already_moves_nothing(redis_client: redis.Redis) -> None:
    add(redis_client, BatchSettings(batch_window_seconds=30, batch_cap_seconds=300), (ONE, 1))
    first = deadline(redis_client, ONE)
    assert add(redis_client, SLOW, (ONE, 1)) == 0
    assert deadline(redis_client, ONE) == first
    assert redis_client.llen(f"conv:{ONE}:msgs") == 1


def test_a_burst_never_waits_beyond_the_cap(redis_client: redis.Redis, batches: Batches) -> None:
    capped = BatchSettings(batch_window_seconds=60, batch_cap_seconds=20, batch_max_messages=1000)
    add(redis_client, capped, (ONE, 0))
    opened = int(redis_client.get(f"conv:{ONE}:opened"))  # type: ignore[arg-type]
    for message in range(1, 50):
        add(redis_client, capped, (ONE, message))
        assert deadline(redis_client, ONE) == opened + 20_000
    # once the cap is over, what still comes is due at once
    redis_client.set(f"conv:{ONE}:opened", opened - 20_000)
    add(redis_client, capped, (ONE, 50))
    assert claimed(batches) == [ONE]


def test_a_window_ends(redis_client: redis.Redis, batches: Batches) -> None:
    started = time.monotonic()
    add(redis_client, BatchSettings(batch_window_seconds=0.05), (ONE, 1), (TWO, 2))
    found: list[str] = []
    while len(found) < 2:
        found += eventually_claimed(batches)
    assert time.monotonic() - started >= 0.05
    assert sorted(found) == [ONE, TWO]
    assert claimed(batches) == []


def test_the_next_burst_has_a_cap_of_its_own(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    name, token = claim_one(batches)
    assert not redis_client.exists(f"conv:{ONE}:msgs", f"conv:{ONE}:opened")
    batches.finish(name, token)
    before = now_ms(redis_client)
    add(redis_client, SLOW, (ONE, 2))
    due = deadline(redis_client, ONE)
    assert due is not None
    assert due >= before + 60_000


def test_the_count_flushes_and_wakes_the_scan(redis_client: redis.Redis, batches: Batches) -> None:
    few = BatchSettings(batch_window_seconds=60, batch_max_messages=3)
    with redis_client.pubsub(ignore_subscribe_messages=False) as heard:  # type: ignore[no-untyped-call]
        heard.subscribe(WAKE)
        assert heard.get_message(timeout=5)["type"] == "subscribe"
        add(redis_client, few, (ONE, 1), (ONE, 2))
        assert claimed(batches) == []
        add(redis_client, few, (ONE, 3))
        # nothing was published before: the first to arrive is the flush's
        assert heard.get_message(timeout=5)["type"] == "message"
        assert heard.get_message(timeout=0) is None
    assert claimed(batches) == [ONE]


def test_a_flush_wakes_one_who_waits(redis_client: redis.Redis, batches: Batches) -> None:
    batches.wait(0)  # subscribes; the confirmation may end the first wait
    batches.wait(0.01)
    woken = threading.Event()

    def scan() -> None:
        while not claimed(batches):
            batches.wait(30)
        woken.set()

    thread = threading.Thread(target=scan)
    thread.start()
    add(redis_client, AT_ONCE, (ONE, 1))
    assert woken.wait(5)
    thread.join()


def test_a_wait_ends_by_itself(batches: Batches) -> None:
    for _ in range(3):
        batches.wait(0.02)


def test_a_claim_takes_its_limit_and_the_longest_due_first(
    redis_client: redis.Redis, batches: Batches
) -> None:
    names = [named(contact, account=contact) for contact in range(7)]
    for position, name in enumerate(names):
        redis_client.zadd(DEADLINES, {name: position + 1})
    assert claimed(batches, "a", limit=3) == names[:3]
    claim = batches.claim(3, "b")
    assert [lease.name for lease in claim.leased] == names[3:6]
    assert claim.next_in == 0
    assert len({lease.token for lease in claim.leased}) == 3
    assert claimed(batches, "c", limit=3) == names[6:]
    assert batches.claim(3, "d").next_in is None


def test_one_conversation_has_one_lease(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    name, token = claim_one(batches)
    add(redis_client, AT_ONCE, (ONE, 2))
    assert claimed(batches) == []
    assert batches.start(name, token)
    add(redis_client, AT_ONCE, (ONE, 3))
    assert claimed(batches) == []
    # what came meanwhile is due as soon as the lease is given back
    batches.finish(name, token)
    assert claim_one(batches, "b") != (name, token)
    assert claimed(batches) == []


def test_claims_at_once_share_nothing(redis_client: redis.Redis, batches: Batches) -> None:
    names = [named(contact) for contact in range(300)]
    add(redis_client, AT_ONCE, *((name, 1) for name in names))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: claimed(batches, f"p{n}", limit=20), range(24)))
    assert sorted(name for part in found for name in part) == sorted(names)


def test_only_its_holder_starts_a_lease_and_only_once(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    name, token = claim_one(batches)
    assert not batches.start(name, "another's")
    assert not batches.start(TWO, token)
    assert batches.start(name, token)
    assert not batches.start(name, token)
    due = redis_client.zscore(LEASES, name)
    assert due is not None
    assert abs(due - now_ms(redis_client) - STARTED_LEASE_SECONDS * 1000) < 5000


def test_a_started_lease_that_runs_out_is_claimed_again(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    name, stale = claim_one(batches)
    assert batches.start(name, stale)
    redis_client.rpush(LANE_KEY, "a task")  # other work that waits does not matter
    run_out(redis_client, name)
    again, token = claim_one(batches, "b")
    assert (again, token != stale) == (name, True)
    # the first worker is not dead after all: it can do nothing any more
    assert batches.renew([(name, stale)]) == 0
    assert not batches.start(name, stale)
    batches.finish(name, stale, again_in=0)
    assert deadline(redis_client, name) is None
    assert batches.start(name, token)


def test_renewing_keeps_a_lease(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1), (TWO, 2))
    held = [(lease.name, lease.token) for lease in batches.claim(2, "a").leased]
    assert all(batches.start(*one) for one in held)
    for name, _ in held:
        run_out(redis_client, name)
    assert batches.renew([*held, (named(3), "never"), (ONE, "another's")]) == 2
    assert batches.renew([]) == 0
    assert claimed(batches) == []


@pytest.mark.parametrize("lane", [LANE_KEY, CROWDED_LANE_KEY])
def test_a_queued_lease_that_runs_out_waits_for_the_lane_to_empty(
    lane: str, redis_client: redis.Redis, batches: Batches
) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    name, token = claim_one(batches)
    redis_client.rpush(lane, "a task")
    run_out(redis_client, name)
    assert claimed(batches) == []
    # prolonged, and still its first holder's
    prolonged = redis_client.zscore(LEASES, name)
    assert prolonged is not None
    assert abs(prolonged - now_ms(redis_client) - QUEUED_LEASE_SECONDS * 1000) < 5000
    run_out(redis_client, name)
    redis_client.delete(lane)
    assert claim_one(batches, "b")[0] == name
    assert not batches.start(name, token)


def test_a_queued_lease_does_not_wait_for_ever(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    name, _ = claim_one(batches)
    redis_client.rpush(LANE_KEY, "a task")
    redis_client.hincrby(f"conv:{name}:lease", "claimed", -QUEUED_LIMIT_SECONDS * 1000)
    run_out(redis_client, name)
    assert claimed(batches) == [name]


def test_lost_leases_come_before_new_ones(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    assert batches.start(*claim_one(batches))
    add(redis_client, AT_ONCE, (TWO, 2))
    run_out(redis_client, ONE)
    assert claimed(batches, limit=1) == [ONE]
    assert claimed(batches, limit=1) == [TWO]


def test_a_claim_takes_its_limit_of_both_kinds_together(redis_client: redis.Redis, batches: Batches) -> None:
    lost = [named(contact) for contact in range(2)]
    add(redis_client, AT_ONCE, *((name, 1) for name in lost))
    for lease in batches.claim(10, "a").leased:
        assert batches.start(lease.name, lease.token)
        run_out(redis_client, lease.name)
    add(redis_client, AT_ONCE, *((named(contact), 1) for contact in range(2, 5)))
    assert len(claimed(batches, "b", limit=3)) == 3
    assert len(claimed(batches, "c", limit=3)) == 2


def test_a_lost_lease_takes_what_came_meanwhile_along(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    assert batches.start(*claim_one(batches))
    add(redis_client, AT_ONCE, (ONE, 2))
    run_out(redis_client, ONE)
    held = claim_one(batches, "b")
    assert claimed(batches) == []
    batches.finish(*held)
    assert claimed(batches) == []


def test_finish_leaves_nothing_behind(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1), (TWO, 2))
    for lease in batches.claim(2, "a").leased:
        assert batches.start(lease.name, lease.token)
        batches.finish(lease.name, lease.token)
        batches.finish(lease.name, lease.token)
    assert redis_client.keys("conv:*") == []


def test_finish_makes_it_due_again_when_asked(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    batches.finish(*claim_one(batches), again_in=0)
    held = claim_one(batches, "b")
    assert batches.start(*held)
    batches.finish(*held, again_in=30)
    claim = batches.claim(10, "c")
    assert claim.leased == ()
    assert claim.next_in is not None
    assert 25 < claim.next_in <= 30


def test_finish_waits_for_a_window_that_is_open(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    held = claim_one(batches)
    add(redis_client, SLOW, (ONE, 2))
    open_until = deadline(redis_client, ONE)
    batches.finish(*held, again_in=0.25)
    assert deadline(redis_client, ONE) == open_until


def test_finish_remembers_a_window_that_ended_meanwhile(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    held = claim_one(batches)
    add(redis_client, AT_ONCE, (ONE, 2))
    assert claimed(batches) == []
    assert deadline(redis_client, ONE) is None
    batches.finish(*held)
    assert claim_one(batches, "b")[0] == ONE
    # what the second lease answers is not owed a third time
    batches.finish(*held_by(redis_client, ONE))
    assert claimed(batches) == []


def held_by(client: redis.Redis, name: str) -> tuple[str, str]:
    return name, client.hget(f"conv:{name}:lease", "token").decode()  # type: ignore[union-attr]


def test_ensure_makes_due_what_is_unknown(redis_client: redis.Redis, batches: Batches) -> None:
    waiting, leased, unknown = named(1), named(2), named(3)
    add(redis_client, SLOW, (waiting, 1))
    add(redis_client, AT_ONCE, (leased, 2))
    held = claim_one(batches)
    assert batches.ensure([waiting, leased, unknown]) == 1
    assert batches.ensure([unknown]) == 0
    assert batches.ensure([]) == 0
    assert claimed(batches) == [unknown]
    batches.finish(*held)
    assert claimed(batches) == []


def test_what_becomes_due_again_wakes_the_scan(redis_client: redis.Redis, batches: Batches) -> None:
    with redis_client.pubsub(ignore_subscribe_messages=False) as heard:  # type: ignore[no-untyped-call]
        heard.subscribe(WAKE)
        assert heard.get_message(timeout=5)["type"] == "subscribe"
        batches.ensure([ONE])
        assert heard.get_message(timeout=5)["type"] == "message"
        batches.finish(*claim_one(batches), again_in=30)
        assert heard.get_message(timeout=0) is None
        redis_client.zadd(DEADLINES, {ONE: 1})
        batches.finish(*claim_one(batches), again_in=0)
        assert heard.get_message(timeout=5)["type"] == "message"


def test_flushall_at_any_point(redis_client: redis.Redis, batches: Batches) -> None:
    # while it waits
    add(redis_client, SLOW, (ONE, 1))
    redis_client.flushall()
    assert claimed(batches) == []
    assert batches.ensure([ONE]) == 1
    # between claim and start
    name, token = claim_one(batches)
    redis_client.flushall()
    assert not batches.start(name, token)
    assert batches.ensure([ONE]) == 1
    # while it runs: what the worker still does harms nobody
    name, token = claim_one(batches, "b")
    assert batches.start(name, token)
    redis_client.flushall()
    assert batches.renew([(name, token)]) == 0
    assert batches.ensure([ONE]) == 1
    newer = claim_one(batches, "c")
    batches.finish(name, token, again_in=0)
    assert batches.start(*newer)
    batches.finish(*newer)
    assert redis_client.keys("conv:*") == []
    # the first scripts of a server that has forgotten them
    redis_client.script_flush()
    assert batches.ensure([ONE]) == 1
    assert claimed(batches) == [ONE]


def test_an_account_beyond_its_fair_share_is_crowded(redis_client: redis.Redis, batches: Batches) -> None:
    flood = [named(contact, account=1) for contact in range(FAIR_SHARE + 3)]
    add(redis_client, AT_ONCE, *((name, 1) for name in flood), (named(1, account=2), 1))
    leases = {lease.name: lease for lease in batches.claim(100, "a").leased}
    assert sum(lease.crowded for lease in leases.values()) == 3
    assert not leases[named(1, account=2)].crowded
    # as its leases end, its share is free again
    for lease in leases.values():
        batches.finish(lease.name, lease.token)
    add(redis_client, AT_ONCE, (ONE, 2))
    (lease,) = batches.claim(100, "b").leased
    assert not lease.crowded


def test_a_lease_that_is_claimed_again_counts_once(redis_client: redis.Redis, batches: Batches) -> None:
    add(redis_client, AT_ONCE, (ONE, 1))
    held = claim_one(batches)
    for round_ in range(2 * FAIR_SHARE):
        run_out(redis_client, ONE)
        (lease,) = batches.claim(1, f"r{round_}").leased
        assert not lease.crowded
        held = lease.name, lease.token
    batches.finish(*held)
    assert redis_client.keys("conv:*") == []


class Workers(RuleBasedStateMachine):
    """Any order of messages, claims, crashes and lost memory: one valid lease a conversation, none forgotten."""

    client: redis.Redis

    @initialize()
    def empty(self) -> None:
        self.client.flushall()
        self.batches = Batches(self.client)
        self.held: dict[str, str] = {}  # the newest token of each conversation
        self.stale: list[tuple[str, str]] = []
        self.owed: set[str] = set()  # has a message that no lease was claimed after
        self.round = 0

    @rule(contact=st.integers(0, 2), at_once=st.booleans())
    def write(self, contact: int, at_once: bool) -> None:
        self.round += 1
        add(self.client, AT_ONCE if at_once else SLOW, (named(contact), self.round))
        self.owed.add(named(contact))

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        self.round += 1
        for lease in self.batches.claim(limit, str(self.round)).leased:
            assert lease.name not in self.held
            self.held[lease.name] = lease.token
            self.owed.discard(lease.name)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        self.batches.start(name, self.held[name])

    @precondition(lambda self: self.held)
    @rule(data=st.data(), again_in=st.sampled_from([None, 0, 30]))
    def finish(self, data: st.DataObject, again_in: float | None) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        self.batches.finish(name, self.held.pop(name), again_in)
        if again_in is not None:
            self.owed.add(name)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        self.stale.append((name, self.held.pop(name)))
        run_out(self.client, name)
        self.owed.add(name)

    @rule()
    def come_back(self) -> None:
        """A worker that was taken for dead, after another has its lease."""
        for name, token in self.stale:
            if name in self.held:
                assert self.batches.renew([(name, token)]) == 0
                assert not self.batches.start(name, token)
                self.batches.finish(name, token, again_in=0)

    @rule()
    def forget(self) -> None:
        self.client.flushall()
        self.stale += self.held.items()
        self.owed |= set(self.held)
        self.held.clear()
        self.batches.ensure(sorted(self.owed))

    @invariant()
    def nothing_is_forgotten(self) -> None:
        known = {*self.client.zrange(DEADLINES, 0, -1), *self.client.zrange(LEASES, 0, -1)}
        assert {name.encode() for name in self.owed} <= known

    @invariant()
    def a_holder_is_the_only_one(self) -> None:
        for name, token in self.held.items():
            assert held_by(self.client, name) == (name, token)

    @invariant()
    def shares_add_up(self) -> None:
        busy: dict[Any, Any] = self.client.hgetall("conv:busy")
        assert sum(map(int, busy.values())) == self.client.zcard(LEASES)


def test_any_order_of_events(redis_client: redis.Redis) -> None:
    machine = type("Machine", (Workers,), {"client": redis_client})
    run_machine(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture],
        ),
    )

"""The Lease as a lock, on a real API server: who may take it, when it ends, and what a bad network does to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import repeat
from typing import Any

import pytest

from control_plane import ControlPlane
from cut_proxy import CutProxy
from socialsync_common.election import Elector
from socialsync_common.errors import TransientError
from socialsync_common.kubernetes_api import MERGE_PATCH, KubernetesApi
from socialsync_common.lease import DURATION_SECONDS, REQUEST_SECONDS, LeaseLock
from stack import until

pytestmark = pytest.mark.integration

NAME = "socialsync-beat"
TERM = LeaseLock.timing.term
Json = dict[str, Any]


class Clock:
    """A replica's monotonic clock. Those of two nodes have nothing in common."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Candidate(Elector):
    """An elector whose rounds the test asks for, one by one."""

    def __init__(self, api: KubernetesApi, namespace: str, identity: str, started: float = 0.0) -> None:
        self.identity = identity
        self.clock = Clock(started)
        self.lock = LeaseLock(api, namespace, NAME, self.clock)
        super().__init__(self.lock, identity, self.clock)

    @property
    def leads(self) -> bool:
        return self.term() is not None

    def after(self, seconds: float) -> bool:
        """One round, so many seconds later; returns whether it leads then."""
        self.clock.now += seconds
        self.attempt()
        return self.leads


class Lease:
    """What the administrator sees of it, and does to it."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.api = plane.api
        self.path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    def read(self) -> Json:
        return self.api.get(f"{self.path}/{NAME}")

    @property
    def spec(self) -> Json:
        spec: Json = self.read()["spec"]
        return spec

    @property
    def version(self) -> str:
        return str(self.read()["metadata"]["resourceVersion"])

    def create(self, spec: Json) -> None:
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        self.api.request("POST", self.path, {**kind, "metadata": {"name": NAME}, "spec": spec})

    def patch(self, change: Json) -> None:
        self.api.request("PATCH", f"{self.path}/{NAME}", change, content_type=MERGE_PATCH)

    def delete(self) -> None:
        self.api.request("DELETE", f"{self.path}/{NAME}")


@pytest.fixture
def lease(plane: ControlPlane, namespace: str) -> Lease:
    return Lease(plane, namespace)


@pytest.fixture
def candidate(plane: ControlPlane, namespace: str) -> Callable[..., Candidate]:
    def create(identity: str, started: float = 0.0) -> Candidate:
        return Candidate(plane.api, namespace, identity, started)

    return create


@pytest.fixture
def first(candidate: Callable[..., Candidate]) -> Candidate:
    """Leads already."""
    first = candidate("a")
    assert first.after(0)
    return first


@pytest.fixture
def second(candidate: Callable[..., Candidate]) -> Candidate:
    return candidate("b", started=5000.0)


def an_hour(sign: int) -> str:
    moment = datetime.now(UTC) + timedelta(hours=sign)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- taking it


def test_the_first_who_asks_makes_it_and_others_can_read_who_leads(first: Candidate, lease: Lease) -> None:
    spec = lease.spec
    assert spec["holderIdentity"] == "a"
    assert spec["leaseDurationSeconds"] == DURATION_SECONDS
    assert spec["leaseTransitions"] == 0
    for moment in (spec["acquireTime"], spec["renewTime"]):
        assert abs(datetime.fromisoformat(moment) - datetime.now(UTC)) < timedelta(seconds=30)


@pytest.mark.parametrize("renewed", [-1, 0, 1], ids=["an hour ago", "now", "in an hour"])
def test_it_lapses_when_it_has_not_changed_for_its_duration_whatever_its_times_say(
    first: Candidate, second: Candidate, lease: Lease, renewed: int
) -> None:
    lease.patch({"spec": {"renewTime": an_hour(renewed)}})
    assert not second.after(0)
    assert not second.after(DURATION_SECONDS - 0.01)
    assert second.after(0.01)
    assert lease.spec["holderIdentity"] == "b"
    assert not first.after(0.8)


def test_each_renewal_makes_others_wait_for_the_whole_duration_again(
    first: Candidate, second: Candidate
) -> None:
    for _ in range(4):
        assert not second.after(DURATION_SECONDS - 1)
        assert first.after(0.8)
    assert not second.after(0)
    assert second.after(DURATION_SECONDS)


def test_the_duration_is_what_the_holder_wrote(second: Candidate, lease: Lease) -> None:
    lease.create({"holderIdentity": "of an older version", "leaseDurationSeconds": 15})
    assert not second.after(0)
    assert not second.after(14.9)
    assert second.after(0.1)


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": ""}, {"leaseTransitions": 6}])
def test_a_lease_without_holder_is_taken_at_once(second: Candidate, lease: Lease, spec: Json) -> None:
    lease.create({**spec, "leaseDurationSeconds": 3600, "renewTime": an_hour(1)})
    assert second.after(0)
    assert lease.spec["holderIdentity"] == "b"
    assert lease.spec["leaseTransitions"] == spec.get("leaseTransitions", 0) + 1


def test_of_many_who_ask_at_a_time_one_wins(candidate: Callable[..., Candidate]) -> None:
    many = [candidate(name, started=ord(name)) for name in "abcdefgh"]
    with ThreadPoolExecutor(len(many)) as pool:

        def winners(candidates: list[Candidate], wait: float) -> list[Candidate]:
            leads = pool.map(Candidate.after, candidates, repeat(wait))
            return [each for each, wins in zip(candidates, leads, strict=True) if wins]

        leaders = winners(many, 0)  # it is absent
        assert len(leaders) == 1
        for _ in range(3):
            others = [each for each in many if each not in leaders]
            assert winners(others, 0) == []  # it is held
            leaders = winners(others, DURATION_SECONDS)  # it has lapsed
            assert len(leaders) == 1


def test_transitions_count_the_changes_of_holder(
    first: Candidate, second: Candidate, candidate: Callable[..., Candidate], lease: Lease
) -> None:
    assert not second.after(0)
    assert second.after(DURATION_SECONDS)
    assert lease.spec["leaseTransitions"] == 1
    assert second.after(TERM)  # past its term, the lock still its own: another term, no transition
    term = second.term()
    assert term
    assert (term.number, term.token) == (2, 1)
    assert lease.spec["leaseTransitions"] == 1

    assert candidate("b").after(0)  # nor when a process with the same identity asks
    assert lease.spec["leaseTransitions"] == 1


# --- keeping it


def test_a_renewal_keeps_everything_but_its_time(first: Candidate, lease: Lease) -> None:
    before = lease.read()
    version = int(before["metadata"]["resourceVersion"])
    assert first.after(0.8)
    after = lease.read()
    assert int(after["metadata"]["resourceVersion"]) > version
    assert after["spec"].pop("renewTime") > before["spec"].pop("renewTime")
    assert after["spec"] == before["spec"]


def test_a_change_of_something_else_does_not_end_the_term(first: Candidate, lease: Lease) -> None:
    term = first.term()
    assert term
    lease.patch({"metadata": {"annotations": {"seen-by": "a person"}}})
    assert first.after(0.8)
    assert first.holds(term)
    assert lease.read()["metadata"]["annotations"] == {"seen-by": "a person"}


def test_a_deleted_lease_ends_the_term_at_the_next_renewal(
    first: Candidate, second: Candidate, lease: Lease
) -> None:
    term = first.term()
    assert term
    lease.delete()
    assert first.after(0.8)  # it makes another
    assert not first.holds(term)
    lease.delete()
    assert second.after(0)  # which another replica may do as well
    assert not first.after(0.8)
    assert lease.spec["holderIdentity"] == "b"


# --- giving it back


def test_a_released_lease_names_no_holder_and_is_taken_at_once(
    first: Candidate, second: Candidate, lease: Lease
) -> None:
    assert not second.after(0)
    first.lock.release("a")
    assert lease.spec.get("holderIdentity", "") == ""
    assert second.after(0)
    assert lease.spec["leaseTransitions"] == 1


def test_nobody_gives_back_what_another_holds_or_what_is_gone(
    first: Candidate, second: Candidate, lease: Lease
) -> None:
    version = lease.version
    second.lock.release("b")
    assert lease.version == version
    lease.delete()
    first.lock.release("a")


def test_who_abstains_gives_it_back_and_campaigns_only_when_told(
    first: Candidate, second: Candidate, lease: Lease
) -> None:
    first.abstain()
    assert not first.leads
    assert not first.after(0.1)
    assert lease.spec.get("holderIdentity", "") == ""
    assert not first.after(0.4)
    assert second.after(0)
    first.rejoin()
    assert not first.after(0.1)
    assert second.after(0.8)


# --- a bad network


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[CutProxy]:
    with CutProxy(plane.port) as proxy:
        yield proxy


def grant(plane: ControlPlane, namespace: str, *verbs: str) -> None:
    """Those verbs, and no others, to the service account ``beat``; only creation cannot be limited to a name."""
    kubectl = partial(plane.kubectl, "-n", namespace)
    kubectl("delete", "role,rolebinding", "--all")
    for verb in verbs:
        limit = [] if verb == "create" else [f"--resource-name={NAME}"]
        kubectl("create", "role", verb, f"--verb={verb}", "--resource=leases.coordination.k8s.io", *limit)
        kubectl("create", "rolebinding", verb, f"--role={verb}", f"--serviceaccount={namespace}:beat")


@pytest.fixture
def remote(plane: ControlPlane, namespace: str, proxy: CutProxy) -> Candidate:
    """A candidate as in a pod: its own account, time-outs and cable. Nothing is allowed yet."""
    plane.kubectl("-n", namespace, "create", "serviceaccount", "beat")
    file = plane.service_account_kubeconfig(namespace, "beat", f"https://127.0.0.1:{proxy.port}")
    return Candidate(KubernetesApi.load(REQUEST_SECONDS, config_file=str(file)), namespace, "a")


@pytest.fixture
def allowed(remote: Candidate, plane: ControlPlane, namespace: str, lease: Lease) -> Candidate:
    """The same, its permissions in effect, its connection open."""
    grant(plane, namespace, "get", "create", "update")
    for _ in range(2):  # the first creates it, the second updates it
        until(lambda: complaint(remote) == "", 10, "permissions")
    lease.delete()
    return remote


def complaint(candidate: Candidate) -> str:
    try:
        candidate.lock.acquire(candidate.identity)
    except TransientError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("transitions", [0, 1], ids=["of a new one", "of a lapsed one"])
def test_an_acquisition_whose_answer_was_lost_is_won_with_the_next(
    allowed: Candidate, second: Candidate, lease: Lease, proxy: CutProxy, transitions: int
) -> None:
    if transitions:
        assert second.after(0)
        assert not allowed.after(0)
    proxy.lose_answer(after=1)  # it reads, then it writes
    assert not allowed.after(DURATION_SECONDS)
    assert proxy.lost_answer.is_set()
    assert lease.spec["holderIdentity"] == "a"
    assert not second.after(0.8)
    assert allowed.after(0.4)
    assert lease.spec["leaseTransitions"] == transitions


def test_a_renewal_whose_answer_was_lost_does_not_lose_the_lock(
    allowed: Candidate, lease: Lease, proxy: CutProxy
) -> None:
    assert allowed.after(0)
    term, version = allowed.term(), lease.version
    assert term
    proxy.lose_answer()
    allowed.after(0.8)
    assert proxy.lost_answer.is_set()
    assert lease.version != version
    assert allowed.term() == term  # not extended either: nobody said so
    assert allowed.after(0.8)
    assert allowed.holds(term)
    allowed.clock.now += TERM - 0.01
    assert allowed.holds(term)


@pytest.mark.parametrize("refuse", [False, True], ids=["hangs", "refuses"])
def test_a_leader_that_is_cut_off_stands_down_before_another_may_begin(
    allowed: Candidate, second: Candidate, proxy: CutProxy, refuse: bool
) -> None:
    assert allowed.after(0)
    assert not second.after(0)
    proxy.cut(refuse=refuse)
    assert allowed.after(0.8)
    assert not allowed.after(TERM - 0.8)
    assert not second.after(DURATION_SECONDS - 0.01)
    assert second.after(0.01)
    proxy.heal()
    assert not allowed.after(0.4)


@pytest.mark.parametrize("connection", ["open", "new"])
@pytest.mark.parametrize("method", ["acquire", "renew", "release"])
def test_no_call_waits_long_for_a_server_that_hangs(
    allowed: Candidate, plane: ControlPlane, proxy: CutProxy, method: str, connection: str
) -> None:
    assert allowed.after(0)
    if connection == "new":
        proxy.heal()
    plane.pause("kube-apiserver")
    try:
        started = time.monotonic()
        with pytest.raises(TransientError):
            getattr(allowed.lock, method)("a")
        assert time.monotonic() - started < 1
    finally:
        plane.resume("kube-apiserver")
    assert getattr(allowed.lock, method)("a") is not False


@pytest.mark.parametrize("missing", ["get", "create", "update"])
def test_a_missing_permission_is_an_outage_until_it_is_granted(
    remote: Candidate, plane: ControlPlane, namespace: str, missing: str
) -> None:
    verbs = {"get", "create", "update"}
    grant(plane, namespace, *verbs - {missing})
    until(lambda: f"cannot {missing} resource" in complaint(remote), 10, "to be refused")
    remote.after(0)
    assert not remote.leads
    grant(plane, namespace, *verbs)
    until(lambda: remote.after(0), 10, "to be allowed")

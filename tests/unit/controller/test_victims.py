"""Who goes when the number falls, held against Kubernetes' own order, which is written down here a second time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socialsync_common.workers import WorkerReport
from socialsync_operator.victims import (
    BUSY,
    COST,
    DRAINING,
    IDLE,
    SAFE,
    UNKNOWN,
    Plan,
    Pod,
    is_there,
    parse_pod,
    plan_removal,
)

check = settings(max_examples=200, derandomize=True, deadline=None)

PHASES = ["Pending", "Unknown", "Running"]
FREE = WorkerReport(slots=4, active=0, reserved=0, accepted=9)
BUSY_WORKER = replace(FREE, active=1, reserved=1)
Reports = Mapping[str, WorkerReport]


def goes_before(one: Pod, other: Pod) -> bool:
    """A ReplicaSet's order of deletion, as far as it does not depend on what nobody can foresee."""
    if one.scheduled != other.scheduled:
        return not one.scheduled
    if one.phase != other.phase:
        return PHASES.index(one.phase) < PHASES.index(other.phase)
    if one.ready != other.ready:
        return not one.ready
    return one.cost < other.cost


def possible_victims(pods: Sequence[Pod], number: int) -> list[Pod]:
    """All that may be among the first ``number``, however ties are broken."""
    return [pod for pod in pods if sum(goes_before(other, pod) for other in pods) < number]


def is_harmless(pod: Pod, reports: Reports) -> bool:
    report = reports.get(pod.name)
    if not pod.running:
        return True
    return report is not None and report.cordoned and report.active == 0 and report.reserved == 0


def written(pods: Sequence[Pod], plan: Plan) -> list[Pod]:
    """The pods once the plan's costs are on them."""
    return [replace(pod, cost=plan.costs.get(pod.name, pod.cost)) for pod in pods]


def confirmed(reports: Reports, plan: Plan) -> dict[str, WorkerReport]:
    """What the workers say once each has heard whether it is cordoned."""
    return {name: replace(report, cordoned=name in plan.cordon) for name, report in reports.items()}


def worker(name: str, **more: Any) -> Pod:
    """A pod that is up and ready."""
    up: dict[str, Any] = {"scheduled": True, "phase": "Running", "ready": True, "running": True, "cost": 0}
    return Pod(name, f"uid-{name}", "rs", **{**up, **more})


# --- properties

COSTS = st.sampled_from([SAFE, DRAINING, IDLE, UNKNOWN, BUSY, BUSY + 5, -7])
SHAPES = st.one_of(
    st.just((True, "Running", True, True)),
    st.just((True, "Running", False, True)),
    st.tuples(st.booleans(), st.sampled_from(PHASES), st.booleans(), st.booleans()),
)
SAYS = st.one_of(
    st.none(),
    st.builds(lambda cordoned: replace(FREE, cordoned=cordoned), st.booleans()),
    st.just(replace(FREE, cordoned=True)),
    st.builds(
        lambda active, waiting, oldest, cordoned: WorkerReport(
            4, active, active + waiting, 9, oldest, cordoned
        ),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 5000),
        st.booleans(),
    ),
)


@st.composite
def fleets(draw: st.DrawFn, says: Any = SAYS) -> tuple[list[Pod], dict[str, WorkerReport], int]:
    """Pods of one ReplicaSet in any state, what some of them say, and how many there are too many."""
    pods, reports = [], {}
    for number in range(draw(st.integers(1, 7))):
        scheduled, phase, ready, running = draw(SHAPES)
        age = f"2026-01-01T00:00:{draw(st.integers(0, 2)):02}Z"
        pods.append(Pod(f"p{number}", "", "rs", scheduled, phase, ready, running, draw(COSTS), age))
        if (report := draw(says)) is not None:
            reports[f"p{number}"] = report
    return pods, reports, draw(st.integers(0, len(pods)))


@check
@given(fleets())
def test_with_the_costs_that_are_written_kubernetes_picks_nobody_who_works(
    fleet: tuple[list[Pod], dict[str, WorkerReport], int],
) -> None:
    pods, reports, excess = fleet
    plan = plan_removal(pods, reports, excess)
    assert 0 <= plan.removable <= excess
    assert all(is_harmless(pod, reports) for pod in possible_victims(pods, plan.removable))


@check
@given(fleets())
def test_nor_with_the_costs_that_the_plan_writes_before_the_number_falls(
    fleet: tuple[list[Pod], dict[str, WorkerReport], int],
) -> None:
    pods, reports, excess = fleet
    plan = plan_removal(pods, reports, excess)
    after = written(pods, plan)
    assert all(is_harmless(pod, reports) for pod in possible_victims(after, plan.removable))
    # nor while Kubernetes has heard of some of them only
    for half in (pods[::2] + after[1::2], after[::2] + pods[1::2]):
        assert all(is_harmless(pod, reports) for pod in possible_victims(half, plan.removable))


@check
@given(fleets())
def test_no_more_could_have_gone(fleet: tuple[list[Pod], dict[str, WorkerReport], int]) -> None:
    pods, reports, excess = fleet
    pods = written(pods, plan_removal(pods, reports, excess))
    removable = plan_removal(pods, reports, excess).removable
    if removable < excess:
        assert not all(is_harmless(pod, reports) for pod in possible_victims(pods, removable + 1))


@check
@given(fleets(says=st.builds(lambda cordoned: replace(FREE, cordoned=cordoned), st.booleans())))
def test_where_nobody_works_all_may_go_at_the_second_look(
    fleet: tuple[list[Pod], dict[str, WorkerReport], int],
) -> None:
    pods, reports, excess = fleet
    first = plan_removal(pods, reports, excess)
    pods, reports = written(pods, first), confirmed(reports, first)
    assert plan_removal(pods, reports, excess).removable == excess


@check
@given(fleets())
def test_a_plan_that_is_carried_out_changes_no_more(
    fleet: tuple[list[Pod], dict[str, WorkerReport], int],
) -> None:
    """Neither do cordons wander from one worker to the next, nor are costs written again and again."""
    pods, reports, excess = fleet
    first = plan_removal(pods, reports, excess)
    pods, reports = written(pods, first), confirmed(reports, first)
    second = plan_removal(pods, reports, excess)
    assert second.cordon == first.cordon
    pods = written(pods, second)
    third = plan_removal(pods, reports, excess)
    assert third == Plan(third.removable, first.cordon, {})
    assert third.removable >= second.removable


@check
@given(fleets())
def test_only_what_runs_and_only_so_many_are_cordoned(
    fleet: tuple[list[Pod], dict[str, WorkerReport], int],
) -> None:
    pods, reports, excess = fleet
    plan = plan_removal(pods, reports, excess)
    assert set(plan.cordon) <= {pod.name for pod in pods if pod.running}
    assert len(plan.cordon) <= excess
    assert not any(plan.costs.get(pod.name) == pod.cost for pod in pods)


# --- by example


def test_the_idle_are_prepared_first_and_go_when_they_have_confirmed_it() -> None:
    pods = [worker("busy", cost=IDLE), worker("idle", cost=IDLE)]
    reports = {"busy": BUSY_WORKER, "idle": FREE}
    first = plan_removal(pods, reports, 1)
    assert first.removable == 0
    assert first.cordon == ("idle",)
    assert first.costs["busy"] >= BUSY
    assert first.costs["idle"] < IDLE
    second = plan_removal(written(pods, first), confirmed(reports, first), 1)
    assert second.removable == 1


def test_a_busy_worker_that_is_not_ready_holds_everybody_up() -> None:
    pods = [worker("trap", ready=False, cost=BUSY), worker("idle", cost=SAFE)]
    reports = {"trap": BUSY_WORKER, "idle": replace(FREE, cordoned=True)}
    plan = plan_removal(pods, reports, 1)
    assert plan.removable == 0
    assert plan.cordon == ("trap",)  # Kubernetes takes it first, so it has to become free
    freed = {**reports, "trap": replace(FREE, cordoned=True)}
    assert plan_removal(pods, freed, 1).removable == 1


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(None, id="silent"),
        pytest.param(FREE, id="idle and not cordoned"),
        pytest.param(replace(BUSY_WORKER, cordoned=True), id="cordoned and still busy"),
        pytest.param(
            replace(FREE, reserved=1, cordoned=True), id="cordoned, and a task waits in it for its time"
        ),
    ],
)
def test_who_may_not_go_yet(said: WorkerReport | None) -> None:
    assert plan_removal([worker("a")], {"a": said} if said else {}, 1).removable == 0


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param({"scheduled": False, "phase": "Pending"}, id="no node"),
        pytest.param({"phase": "Pending"}, id="image not there yet"),
        pytest.param({}, id="crashed"),
    ],
)
def test_what_has_no_process_may_go_at_once_and_needs_no_cordon(pod: dict[str, Any]) -> None:
    plan = plan_removal([worker("a", running=False, ready=False, **pod), worker("b")], {"b": BUSY_WORKER}, 1)
    assert plan.removable == 1
    assert plan.cordon == ()


def test_in_a_rollout_nobody_goes() -> None:
    pods = [worker("old"), replace(worker("new"), replica_set="rs-2")]
    reports = {name: replace(FREE, cordoned=True) for name in ("old", "new")}
    assert plan_removal(pods, reports, 1) == Plan(0, (), {})


def test_those_already_cordoned_are_kept_to() -> None:
    pods = [worker("a", age_key="2026-01-01T00:00:00Z"), worker("b", age_key="2026-01-02T00:00:00Z")]
    reports = {"a": replace(BUSY_WORKER, cordoned=True), "b": FREE}
    assert plan_removal(pods, reports, 1).cordon == ("a",)


def test_of_equals_the_newest_goes() -> None:
    pods = [worker("a", age_key="2026-01-02T00:00:00Z"), worker("b", age_key="2026-01-01T00:00:00Z")]
    assert plan_removal(pods, {"a": FREE, "b": FREE}, 1).cordon == ("a",)


def test_nothing_too_many_is_nothing_to_prepare() -> None:
    plan = plan_removal([worker("a", cost=IDLE)], {"a": FREE}, 0)
    assert plan == Plan(0, (), {})


def test_costs_tell_who_has_how_much_to_lose() -> None:
    """Each class has its own, so that what is written shows why; busy ones differ by orders of magnitude."""
    pods = [worker(name, cost=-1) for name in ("leaving", "draining", "idle", "silent", "new", "old")]
    pods.append(worker("down", running=False, cost=-1))
    reports = {
        "leaving": replace(FREE, cordoned=True),
        "draining": replace(BUSY_WORKER, cordoned=True),
        "idle": FREE,
        "new": replace(BUSY_WORKER, oldest_seconds=1),
        "old": replace(BUSY_WORKER, oldest_seconds=1000),
    }
    costs = plan_removal(pods, reports, 2).costs
    assert costs == {
        "leaving": SAFE,
        "draining": DRAINING,
        "idle": IDLE,
        "silent": UNKNOWN,
        "new": BUSY + 1,
        "old": BUSY + 10,
        "down": SAFE,
    }
    assert SAFE < DRAINING < IDLE < UNKNOWN < BUSY


def test_the_cost_of_a_long_task_has_an_end() -> None:
    for seconds in (10**6, 10**12):
        reports = {"a": replace(BUSY_WORKER, oldest_seconds=seconds)}
        assert plan_removal([worker("a")], reports, 0).costs == {"a": BUSY + 17}


# --- as the API server returns them


def resource(**more: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "ingest-1",
            "uid": "u1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {COST: "20"},
            "ownerReferences": [{"kind": "ReplicaSet", "uid": "rs"}],
        },
        "spec": {"nodeName": "n1"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [{"state": {"running": {}}}],
        },
        **more,
    }


def test_a_pod_is_read() -> None:
    assert parse_pod(resource()) == Pod(
        "ingest-1", "u1", "rs", True, "Running", True, True, 20, "2026-01-01T00:00:00Z"
    )


def test_a_pod_just_made_is_read() -> None:
    made = {"metadata": {"name": "ingest-1", "uid": "u1"}, "spec": {}}
    assert parse_pod(made) == Pod("ingest-1", "u1", "", False, "Pending", False, False, 0)


@pytest.mark.parametrize(
    ("state", "may_run"),
    [
        ({"waiting": {"reason": "CrashLoopBackOff"}}, False),
        ({"waiting": {"reason": "ImagePullBackOff"}}, False),
        ({"waiting": {"reason": "ContainerCreating"}}, True),  # its status lags behind the node
        ({"terminated": {"exitCode": 1}}, True),  # and it is started again at once
        ({}, True),
    ],
)
def test_a_pod_on_a_node_may_run_unless_it_waits_for_what_failed(
    state: dict[str, Any], may_run: bool
) -> None:
    pod = parse_pod(resource(status={"phase": "Running", "containerStatuses": [{"state": state}]}))
    assert pod.running is may_run


@pytest.mark.parametrize(("text", "cost"), [("-5", -5), ("", 0), ("1.5", 0), ("many", 0)])
def test_a_cost_that_is_no_integer_counts_as_none(text: str, cost: int) -> None:
    pod = resource()
    pod["metadata"]["annotations"] = {COST: text}
    assert parse_pod(pod).cost == cost


def test_what_ended_or_is_told_to_end_is_no_replica() -> None:
    assert is_there(resource())
    assert is_there({"metadata": {}, "spec": {}})
    assert not is_there({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {}})
    for phase in ("Succeeded", "Failed"):
        assert not is_there(resource(status={"phase": phase}))

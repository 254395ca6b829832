"""Workers that live and take nothing: who is one, and who only looks like one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from socialsync_common.workers import WorkerReport
from socialsync_operator.stalls import STALL_SECONDS, Watch

FREE = WorkerReport(slots=4, active=0, reserved=0, accepted=9)
FULL = replace(FREE, active=4, reserved=4)


def stalled_after(seconds: float, report: WorkerReport, tasks: int = 1) -> list[str]:
    """Who counts as stalled when the same is seen again after ``seconds``."""
    watch = Watch().look(tasks, {"a": report}, [], 0.0)
    return watch.look(tasks, {"a": report}, [], seconds).stalled(seconds)


def test_free_slots_work_that_waits_and_nothing_taken_is_a_stall() -> None:
    assert stalled_after(STALL_SECONDS - 0.1, FREE) == []
    assert stalled_after(STALL_SECONDS, FREE) == ["a"]


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(FULL, id="all slots run"),
        pytest.param(replace(FREE, reserved=4), id="all slots are spoken for"),
        pytest.param(replace(FREE, active=4), id="tasks outlived their connection"),
        pytest.param(replace(FREE, cordoned=True), id="it was told to take nothing"),
    ],
)
def test_who_cannot_or_must_not_take_work_is_not_stalled(report: WorkerReport) -> None:
    assert stalled_after(1000, report) == []


def test_where_nothing_waits_nobody_is_stalled() -> None:
    assert stalled_after(1000, FREE, tasks=0) == []


def test_one_task_taken_begins_anew() -> None:
    watch = Watch().look(5, {"a": FREE}, [], 0.0)
    watch = watch.look(5, {"a": replace(FREE, accepted=10)}, [], 20.0)
    assert watch.stalled(20 + STALL_SECONDS - 0.1) == []
    assert watch.stalled(20 + STALL_SECONDS) == ["a"]


def test_a_restarted_worker_begins_anew() -> None:
    watch = Watch().look(5, {"a": FREE}, [], 0.0)
    watch = watch.look(5, {"a": replace(FREE, accepted=0)}, [], 20.0)
    assert watch.stalled(40.0) == []


def test_an_empty_queue_in_between_begins_anew() -> None:
    watch = (
        Watch().look(5, {"a": FREE}, [], 0.0).look(0, {"a": FREE}, [], 20.0).look(5, {"a": FREE}, [], 21.0)
    )
    assert watch.stalled(20 + STALL_SECONDS) == []
    assert watch.stalled(21 + STALL_SECONDS) == ["a"]


def test_a_pod_that_ought_to_report_and_does_not_is_stalled_too() -> None:
    watch = Watch().look(5, {}, ["a"], 0.0).look(5, {}, ["a"], STALL_SECONDS)
    assert watch.stalled(STALL_SECONDS) == ["a"]


def test_a_pod_that_speaks_again_begins_anew() -> None:
    watch = Watch().look(5, {}, ["a"], 0.0).look(5, {"a": FREE}, ["a"], 20.0)
    assert watch.stalled(40.0) == []


def test_a_worker_that_is_gone_is_forgotten() -> None:
    watch = Watch().look(5, {"a": FREE, "b": FREE}, [], 0.0).look(5, {"b": FREE}, [], STALL_SECONDS)
    assert watch.stalled(STALL_SECONDS) == ["b"]


def test_the_one_stalled_longest_comes_first() -> None:
    watch = Watch().look(5, {"b": FREE}, [], 0.0).look(5, {"a": FREE, "b": FREE}, [], 1.0)
    assert watch.stalled(100.0) == ["b", "a"]


def test_a_watch_is_a_value() -> None:
    watch = Watch().look(5, {"a": FREE}, [], 0.0)
    watch.look(0, {}, [], 1.0)
    assert watch.stalled(STALL_SECONDS) == ["a"]

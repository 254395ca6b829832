from __future__ import annotations

from socialsync_common.contracts import LANE_OF_TASK
from socialsync_scheduler.schedule import ENTRIES, Timetable

SCAN, SWEEP = ENTRIES[:2]


def test_entries_tick_in_tick_lanes_and_expire_within_their_slot() -> None:
    assert [entry.name for entry in ENTRIES] == [
        "scan-redis-batches-every-500ms",
        "sweep-every-10-seconds",
        "enqueue-due-posts-every-minute",
        "sweep-posts-every-10-seconds",
        "poll-post-comments-every-5-minutes",
        "sweep-comments-every-10-seconds",
        "refresh-tokens-every-hour",
    ]
    for entry in ENTRIES:
        # an hour leaves time to wait behind work
        assert LANE_OF_TASK[entry.task].is_tick or entry.every == 3600
        assert entry.expires < entry.every


def test_a_tick_has_one_id_on_every_replica() -> None:
    assert SCAN.task_id(3591021762) == SCAN.task_id(3591021762)
    assert len({SCAN.task_id(1), SCAN.task_id(2), SWEEP.task_id(1), SWEEP.task_id(2)}) == 4


def test_everything_is_due_at_the_start_and_then_at_its_border() -> None:
    timetable = Timetable((SCAN, SWEEP))
    assert timetable.due(100.0) == [SCAN, SWEEP]
    assert timetable.wait(100.0) == 0.0

    timetable.postpone(SCAN, 100.3)
    timetable.postpone(SWEEP, 107.0)
    assert timetable.due(100.2) == []
    assert timetable.wait(100.1) == 100.3 - 100.1
    assert timetable.due(100.3) == [SCAN]
    assert timetable.due(108.0) == [SCAN, SWEEP]


def test_a_border_in_the_past_never_asks_for_a_negative_sleep() -> None:
    timetable = Timetable((SCAN, SWEEP))
    timetable.postpone(SCAN, 1.0)
    timetable.postpone(SWEEP, 1.0)
    assert timetable.wait(50.0) == 0.0

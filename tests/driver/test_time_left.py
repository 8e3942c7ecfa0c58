"""The time left of a sweep, on schedules that workers keep: the truth is known, the clock is ours."""

import heapq
import random

import pytest

from raysweep.driver.time_left import TimeLeft


def schedule(n, at_once, *, start, seconds, overhead, seed):
    """Return (time, seconds of work) at which each of ``n`` trials ends, in order."""
    rng = random.Random(seed)
    free = [start * rng.uniform(0.7, 1.3) for _ in range(at_once)]  # each worker imports torch
    heapq.heapify(free)
    ends = []
    for _ in range(n):
        work = seconds * rng.uniform(0.6, 1.4)
        end = heapq.heappop(free) + work + overhead
        heapq.heappush(free, end)
        ends.append((end, work))
    return sorted(ends)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("at_once", [1, 2, 4])
@pytest.mark.parametrize(
    ("seconds", "start"), [(1.0, 0.0), (2.0, 10.0), (5.0, 10.0), (60.0, 10.0), (60.0, 60.0)]
)
def test_from_the_second_finished_trial_on_the_estimate_is_right_within_a_factor_of_two(
    seconds, start, at_once, seed
):
    ends = schedule(40, at_once, start=start, seconds=seconds, overhead=0.15, seed=seed)
    now = [0.0]
    left, rows = TimeLeft(clock=lambda: now[0]), []
    for end, work in ends:
        now[0] = end
        rows.append({"train_seconds": 0.7 * work, "attack_seconds": 0.3 * work})
        left.note(rows, min(at_once, 41 - len(rows)))
        truth = ends[-1][0] - end
        if len(rows) >= 2 and truth > 2 * seconds:
            assert truth / 2 <= left.seconds(len(ends) - len(rows)) <= 2 * truth, len(rows)


def test_before_the_first_trial_and_without_seconds_nothing_is_claimed():
    left = TimeLeft()
    assert left.seconds(10) is None
    left.note([{"train_seconds": None, "attack_seconds": float("nan")}], 2)
    assert left.seconds(9) is None

import argparse
import os

import pytest

from tests.support import jobs as calls
from twofold.support.jobs import Job, Processes, add_options, engine


def jobs(function, count=5):
    return [Job(f"job {number}", function, (number,), str(number)) for number in range(count)]


def test_one_at_a_time_runs_here_and_only_as_far_as_is_asked():
    called = []
    results = Processes(1).results(jobs(lambda number: called.append(number) or 2 * number))
    assert [next(results), next(results)] == [0, 2] and called == [0, 1]
    assert list(Processes(4).results(jobs(calls.process, 1))) == [os.getpid()]
    assert list(Processes(4).results([])) == []


def test_results_are_in_order_and_told_as_they_come():
    told = []
    results = list(Processes(2).results(jobs(calls.square), lambda job, result: told.append((job.name, result))))
    assert results == [0, 1, 4, 9, 16]
    assert sorted(told) == [(f"job {number}", number * number) for number in range(5)]


def test_what_a_job_raises_is_raised_and_a_dead_process_is_one_line():
    with pytest.raises(ValueError, match=r"^Number must be none, not 0$"):
        list(Processes(2).results([jobs(calls.refuse)[0], *jobs(calls.square)[1:]]))
    with pytest.raises(RuntimeError, match=r"^Job 'job [01]' must end, but a process has died$"):
        list(Processes(2).results(jobs(calls.die, 2)))


def test_keys_are_no_others():
    one = Job("a", calls.square, (1,), "same")
    with pytest.raises(ValueError, match=r"^Jobs must have keys of their own, not 'same' twice$"):
        Processes(1).results([one, one])


def test_options_name_an_engine():
    parser = argparse.ArgumentParser()
    add_options(parser, jobs=3)
    with engine(parser.parse_args([])) as found:
        assert found.width == 3
    with (
        pytest.raises(ValueError, match=r"^--jobs must be at least 1, not 0$"),
        engine(parser.parse_args(["--jobs", "0"])),
    ):
        pass

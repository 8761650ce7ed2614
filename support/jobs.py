"""Independent jobs: one list of them, run by this machine's processes or by a cluster's (`support.cluster`)."""

import argparse
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Job(Generic[T]):
    """A call that any process may make.

    Parameters
    ----------
    name
        What people are shown.
    function
        Of a module; what it gives depends on its arguments alone.
    arguments
        Copied to the process that calls it.
    key
        No other job of the list has it.
    """

    name: str
    function: Callable[..., T]
    arguments: tuple[Any, ...]
    key: str


#: Called with each job and its result as soon as it is there.
Done = Callable[[Job[T], T], object]


class Engine(Protocol):
    """What runs lists of jobs."""

    @property
    def width(self) -> int:
        """Jobs that run side by side."""
        ...

    def results(self, jobs: Sequence[Job[T]], done: Done[T] = ...) -> Iterator[T]:
        """Every job's result, in the list's order.

        Raises
        ------
        RuntimeError
            If no process is left for a job, or the ones that ran it died.
        ValueError
            If two jobs have one key.
        Exception
            Whatever a job raises; the jobs that have not begun are dropped.
        """
        ...


def ignore(job: Job[Any], result: Any) -> None:
    """What is done with a result if nothing is."""


class Processes:
    """An engine of this machine's processes; a single job, or one at a time, runs in this process.

    Parameters
    ----------
    width
        Most processes at a time.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    def results(self, jobs: Sequence[Job[T]], done: Done[T] = ignore) -> Iterator[T]:
        """See `Engine`."""
        check_keys(jobs)
        width = min(self.width, len(jobs))
        return in_order(jobs, self._here(jobs) if width < 2 else self._beside(jobs, width), done)

    def _here(self, jobs: Sequence[Job[T]]) -> Generator[tuple[int, T], None, None]:
        for number, job in enumerate(jobs):
            yield number, job.function(*job.arguments)

    def _beside(self, jobs: Sequence[Job[T]], width: int) -> Generator[tuple[int, T], None, None]:
        # Not forked: this process may have threads.
        pool = ProcessPoolExecutor(width, mp_context=multiprocessing.get_context("spawn"))
        try:
            futures = {pool.submit(job.function, *job.arguments): number for number, job in enumerate(jobs)}
            for future in as_completed(futures):
                number = futures[future]
                try:
                    yield number, future.result()
                except BrokenProcessPool as error:
                    raise RuntimeError(f"Job {jobs[number].name!r} must end, but a process has died") from error
        finally:
            pool.shutdown(cancel_futures=True)


def check_keys(jobs: Sequence[Job[Any]]) -> None:
    """Raise ValueError if two jobs have one key."""
    seen = set[str]()
    for job in jobs:
        if job.key in seen:
            raise ValueError(f"Jobs must have keys of their own, not {job.key!r} twice")
        seen.add(job.key)


def in_order(jobs: Sequence[Job[T]], found: Generator[tuple[int, T], None, None], done: Done[T]) -> Iterator[T]:
    """Results by the numbers of their jobs, in whatever order they come, in that of the jobs."""
    waiting: dict[int, T] = {}
    turn = 0
    try:
        for number, result in found:
            done(jobs[number], result)
            waiting[number] = result
            while turn in waiting:
                yield waiting.pop(turn)
                turn += 1
    finally:
        found.close()


def add_options(parser: argparse.ArgumentParser, *, jobs: int | None = None) -> None:
    """The options that `engine` reads; `jobs`: processes if none are asked for, as many as there are processors."""
    jobs = jobs or os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, metavar="N", default=jobs, help="processes at a time (%(default)s)")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster that runs the jobs instead, such as tcp://host:8786"
    )


@contextmanager
def engine(options: argparse.Namespace) -> Iterator[Engine]:
    """The engine that a command's options ask for.

    Raises
    ------
    ValueError
        If the number of jobs is not positive.
    ModuleNotFoundError, RuntimeError
        As `cluster.connected`.
    """
    if options.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, not {options.jobs}")
    if options.scheduler is None:
        yield Processes(options.jobs)
        return
    from twofold.support.cluster import connected

    with connected(options.scheduler) as cluster:
        yield cluster

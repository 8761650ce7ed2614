"""The engine of jobs that is a running Dask cluster, on any number of machines.

The package `distributed` is not the project's: it is imported when a scheduler is named.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from twofold.support.jobs import Done, Job, T, check_keys, ignore, in_order

#: Seconds in which a scheduler must answer and have a worker.
PATIENCE = 10


class Cluster:
    """A Dask cluster as an engine; what a lost worker ran or held is run again by others.

    Parameters
    ----------
    client
        A `distributed.Client` of its scheduler.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def width(self) -> int:
        """Threads of all workers."""
        return max(1, sum(self._client.nthreads().values()))

    def results(self, jobs: Sequence[Job[T]], done: Done[T] = ignore) -> Iterator[T]:
        """See `jobs.Engine`."""
        check_keys(jobs)
        return in_order(jobs, self._found(jobs), done)

    def _found(self, jobs: Sequence[Job[T]]) -> Generator[tuple[int, T], None, None]:
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        # A scheduler knows its tasks by key, those of other clients too.
        run = uuid4().hex
        futures = {
            self._client.submit(job.function, *job.arguments, key=f"{job.key}-{run}", pure=False): number
            for number, job in enumerate(jobs)
        }
        try:
            for future in as_completed(futures):
                number = futures[future]
                try:
                    yield number, future.result()
                except KilledWorker as error:
                    raise RuntimeError(f"Job {jobs[number].name!r} must end, but its workers have died") from error
        finally:
            self._client.cancel(list(futures))


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """The cluster of a scheduler, for a while.

    Parameters
    ----------
    address
        The scheduler's, such as ``tcp://host:8786``.

    Raises
    ------
    ModuleNotFoundError
        If `distributed` is not installed.
    RuntimeError
        If the scheduler does not answer, or has no worker.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"Scheduler must answer within {PATIENCE} s, not {address!r}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise RuntimeError(f"Scheduler {address!r} must have a worker, not none") from error
        yield Cluster(client)

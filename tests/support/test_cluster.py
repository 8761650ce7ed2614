"""A cluster on this machine: a scheduler and two workers, each a process, of which one is lost."""

import os
import subprocess
import sys

import pytest
from distributed import LocalCluster

from tests.support import jobs as calls
from tests.support.test_jobs import jobs
from twofold import command
from twofold.golden import container
from twofold.golden.config import load_config
from twofold.mapper import commands
from twofold.support import cluster
from twofold.support.cluster import connected
from twofold.support.jobs import Job, Processes
from twofold.testing.random_network import random_network

#: A scheduler by itself.
NONE = {"n_workers": 0, "processes": False, "protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": ":0"}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler's, with two workers that nobody starts again."""
    with LocalCluster(**NONE) as scheduler:
        given = [scheduler.scheduler_address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
        start = [sys.executable, "-m", "distributed.cli.dask_worker", *given]
        given += ["--local-directory", str(tmp_path_factory.mktemp("workers"))]
        path = os.pathsep.join(["src", ".", os.environ.get("PYTHONPATH", "")])
        workers = [
            subprocess.Popen(start, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path}) for _ in range(2)
        ]
        scheduler.wait_for_workers(2, timeout=30)
        yield scheduler.scheduler_address
    for worker in workers:
        worker.kill()
        worker.wait()


def test_a_cluster_that_loses_a_worker_ends_with_the_same_results(address, tmp_path):
    def listed(mark):
        return [Job(f"job {n}", calls.die_once, (mark, n), str(n)) for n in range(8)]

    with connected(address) as engine:
        assert engine.width == 2
        told = []
        results = list(engine.results(listed(tmp_path / "killed"), lambda job, result: told.append(job.key)))
        assert (tmp_path / "killed").exists() and engine.width == 1
        assert sorted(told) == [str(n) for n in range(8)]
        assert results == list(Processes(1).results(listed(tmp_path / "killed"))) == [n * n for n in range(8)]
        with pytest.raises(ValueError, match=r"^Number must be none, not 0$"):
            list(engine.results(jobs(calls.refuse)))


def test_a_sweep_of_builds_runs_on_a_cluster(address, tmp_path, capsys):
    container.save(random_network(3, load_config("log_4x4"), layers=2, name="mine"), tmp_path / "net")
    arguments = [str(tmp_path / "net"), "--config", "log_4x4", "--config", "log_8x8"]
    assert commands.main([*arguments, "--jobs", "1"]) == 0
    here = capsys.readouterr().out
    assert commands.main([*arguments, "--scheduler", address]) == 0
    assert capsys.readouterr().out == here


def test_no_scheduler_no_worker_and_no_package_are_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    with pytest.raises(RuntimeError, match=r"^Scheduler must answer within 0.2 s, not 'tcp://127.0.0.1:9': "):
        with connected("tcp://127.0.0.1:9"):
            pass
    with LocalCluster(**NONE) as empty:
        with pytest.raises(RuntimeError, match=r"^Scheduler 'tcp://.*' must have a worker, not none$"):
            with connected(empty.scheduler_address):
                pass
    container.save(random_network(3, load_config("log_4x4"), layers=2, name="mine"), tmp_path / "net")
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert command.main(["fit", str(tmp_path / "net"), "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err == "error: Package 'distributed' must be installed: pip install 'twofold[cluster]'\n"

"""Work in a process of its own, to see how much memory it takes. Nothing here imports PyTorch, which takes much."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from twofold.bench.tools.resnet50 import resnet50
from twofold.golden.config import ArrayConfig
from twofold.hdl.emit import emit
from twofold.mapper.compiler import compile_network


def alone(work: Callable[..., int], *arguments: object) -> tuple[int, float, float]:
    """What a function gives, its seconds, and the most memory (MB) of the new process that called it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_timed, work, *arguments).result()


def map_large(config: ArrayConfig, size: dict[str, int]) -> int:
    """Map a network of ResNet-50's shape; its program lines."""
    return len(compile_network(resnet50(config, **size), config).program)


def write_verilog(config: ArrayConfig) -> int:
    """Write a machine as Verilog; its letters."""
    return len(emit(config))


def _timed(work: Callable[..., int], *arguments: object) -> tuple[int, float, float]:
    started = time.perf_counter()
    result = work(*arguments)
    seconds = time.perf_counter() - started
    # Of this program alone; what the C library says is at least what the process took before it became this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return result, seconds, int(status["VmHWM"].split()[0]) / 1e3

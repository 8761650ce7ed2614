"""What `twofold sim` runs as jobs (`support.jobs`): functions that any process may call, and what repeats one."""

import importlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image
from twofold.golden.network import Network
from twofold.hdl.emit import components, emit, emit_component, top_name
from twofold.sim import gates, network, runner, settings
from twofold.sim.random_check import Reference, check_network, check_networks, check_programs, check_reference

#: Benches of the whole machine; every other `bench_<component>` is of that component alone.
MACHINE_BENCHES = ("machine", "host", "outside")
#: What gives a build a memory outside, and memories that are smaller than the network of `bench_outside`.
OUTSIDE: dict[str, Any] = {
    "memory": "axi4",
    "feature_depth": 96,
    "weight_depth": 128,
    "channel_depth": 32,
    "program_depth": 128,
}
#: What gives a build tables.
TABLES: dict[str, Any] = {"tables": 2, "table_bits": 9}


def bench(
    name: str, config: ArrayConfig, simulator: str, waves: bool, coverage: bool, seed: int, networks: int
) -> list[runner.BenchResult]:
    """Builds what a bench needs and runs it; `networks`: random ones in the machine's bench."""
    if name == "outside":
        config = replace(config, **OUTSIDE)
    if name == "table_lookup" and name not in components(config):
        config = replace(config, **TABLES)
    if name in MACHINE_BENCHES:
        text, top = emit(config), top_name(config)
    else:
        text, top = emit_component(name, config), f"twofold_{name}"
    design = runner.build(text, top, simulator=simulator, waves=waves, coverage=coverage)
    values = settings.write(config, seed=seed, networks=networks, programs=5, damaged=200)
    results = runner.run(
        design, f"twofold.sim.bench_{name}", settings=values, seed=seed, unknown=name in MACHINE_BENCHES
    )
    return [_named(result, config) for result in results]


def random_network(config: ArrayConfig, seed: int, style: str | None, reference: str | None) -> runner.BenchResult:
    """Runs the random network of a seed on a build, or on its gates (`sim.gates`)."""
    (result,) = check_networks(config, 1, seed, reference=_further(reference), program=_program(config, style))
    return result


def random_program(config: ArrayConfig, seed: int, style: str | None) -> runner.BenchResult:
    """Runs the random program of a seed on a build, or on its gates."""
    (result,) = check_programs(config, 1, seed, program=_program(config, style))
    return result


def users_network(
    image: Image, mine: Network, seed: int, style: str | None, reference: str | None
) -> list[runner.BenchResult]:
    """Runs a network of the user's on random inputs, every layer compared."""
    program = _program(image.config, style)
    return [check_network(image.config, mine, seed, image=image, reference=_further(reference), program=program)]


def users_network_under_cocotb(
    image: Image, mine: Network, folder: Path, seed: int, simulator: str, waves: bool, reference: str | None
) -> list[runner.BenchResult]:
    """Runs the network of a folder in any simulator, with waveforms if asked for."""
    config = image.config
    design = runner.build(emit(config), top_name(config), simulator=simulator, waves=waves)
    values = settings.write(config, seed=seed, network=str(folder), image=str(network.kept(image)))
    results = runner.run(design, "twofold.sim.network_bench", settings=values, seed=seed, unknown=True)
    further = _further(reference)
    if further:
        results.append(check_reference(mine, seed, further))
    return [_named(result, config) for result in results]


def function(path: str) -> Reference:
    """The function that ``MODULE:FUNCTION`` names."""
    module, _, name = path.partition(":")
    # As `python -m` does: a module of the user's stands where the command is run.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return getattr(importlib.import_module(module), name)


def _further(reference: str | None) -> Reference | None:
    return function(reference) if reference else None


def _program(config: ArrayConfig, style: str | None) -> Path | None:
    return gates.build(config, style) if style else None


def _named(result: runner.BenchResult, config: ArrayConfig) -> runner.BenchResult:
    return replace(result, test=f"{config.name} {result.test}")

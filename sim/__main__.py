"""``twofold sim``: cocotb benches of the components and of the whole machine; ``--random N`` for random networks."""

import argparse
import importlib
import os
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from twofold.golden import container
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.image import Image
from twofold.golden.network import Network
from twofold.hdl.emit import emit, emit_component, top_name
from twofold.mapper.builds import describe
from twofold.mapper.layer_table import layer_table
from twofold.sim import gates, network, runner, settings, tools
from twofold.sim.images import ImagesRun, run_all
from twofold.sim.random_check import Reference, check_network, check_networks, check_programs, check_reference
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command

DESCRIPTION = "Benches of the components and of the machine; random networks; a network of yours."
EXAMPLES = (
    "twofold sim                                          all benches",
    "twofold sim requantiser --sim icarus --waves         one, with waveforms",
    "twofold sim --random 200 --seed 7                    random networks and programs",
    "twofold sim --network NETWORK --config subset_8x8    your network on random inputs",
    "twofold sim --network NETWORK --images 100 --data PATH --jobs 8    on a data set's held-out images",
)
DEFAULT_CONFIGS = (Path("log_4x4"), Path("subset_4x4"))
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


def bench_names() -> list[str]:
    """Every bench, those of components first."""
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    return sorted(found, key=lambda name: name in MACHINE_BENCHES)


def run_bench(name: str, config: ArrayConfig, options: argparse.Namespace) -> list[runner.BenchResult]:
    """Builds what a bench needs and runs it."""
    if name == "outside":
        config = replace(config, **OUTSIDE)
    if name in MACHINE_BENCHES:
        text, top = emit(config), top_name(config)
    else:
        text, top = emit_component(name, config), f"twofold_{name}"
    design = runner.build(text, top, simulator=options.sim, waves=options.waves)
    values = settings.write(config, seed=options.seed, networks=options.networks, programs=5, damaged=200)
    results = runner.run(
        design, f"twofold.sim.bench_{name}", settings=values, seed=options.seed, unknown=name in MACHINE_BENCHES
    )
    command = _command(config, options, options.seed, name, "--networks", str(options.networks))
    return [_repeatable(_named(result, config), options.seed, command) for result in results]


def run_network(image: Image, mine: Network, options: argparse.Namespace) -> list[runner.BenchResult]:
    """Runs a network of the user's in any simulator, with waveforms if asked for."""
    config = image.config
    design = runner.build(emit(config), top_name(config), simulator=options.sim, waves=options.waves)
    values = settings.write(
        config, seed=options.seed, network=str(options.network.resolve()), image=str(network.kept(image))
    )
    results = runner.run(design, "twofold.sim.network_bench", settings=values, seed=options.seed, unknown=True)
    if options.reference:
        results.append(check_reference(mine, options.seed, _function(options.reference)))
    return [_named(result, config) for result in results]


def _named(result: runner.BenchResult, config: ArrayConfig) -> runner.BenchResult:
    return replace(result, test=f"{config.name} {result.test}")


def _repeatable(result: runner.BenchResult, seed: int, command: str) -> runner.BenchResult:
    """The result, with what repeats it if it failed."""
    if result.passed:
        return result
    return replace(result, message=f"{result.message}\nseed {seed}; to repeat: {command}")


def _command(config: ArrayConfig, options: argparse.Namespace, seed: int, *more: str) -> str:
    path = next((path for path in options.config or DEFAULT_CONFIGS if load_config(path) == config), None)
    build = ["--config", str(path)] if path else []
    choice = ["--sim", options.sim] if options.sim != "verilator" else []
    gate = ["--gates", options.gates] if options.gates else []
    reference = ["--reference", options.reference] if options.reference else []
    return shlex.join(["twofold", "sim", *more, *build, *choice, *gate, *reference, "--seed", str(seed)])


def _results(options: argparse.Namespace, configs: list[ArrayConfig]) -> Iterator[runner.BenchResult]:
    if options.random or options.gates:
        for number, config in enumerate(configs):
            count = options.random or len(configs)
            share = count // len(configs) + (number < count % len(configs))
            yield from _random_results(config, share, options)
    else:
        for config in configs:
            for name in options.benches or bench_names():
                yield from run_bench(name, config, options)


def _network_results(images: list[Image], mine: Network, options: argparse.Namespace) -> Iterator[runner.BenchResult]:
    for image in images:
        given = {"--images": options.images, "--data": options.data, "--data-set": options.data_set}
        more = [text for key, value in given.items() if value for text in (key, str(value))]
        command = _command(image.config, options, options.seed, "--network", str(options.network), *more)
        for result in _one_network(image, mine, options):
            yield _repeatable(result, options.seed, command)
        if not _under_cocotb(options):
            yield _repeatable(_run_all(image, mine, options).result(), options.seed, command)


def _under_cocotb(options: argparse.Namespace) -> bool:
    return bool(options.waves) or options.sim != "verilator"


def _one_network(image: Image, mine: Network, options: argparse.Namespace) -> list[runner.BenchResult]:
    if _under_cocotb(options):
        return run_network(image, mine, options)
    reference = _function(options.reference) if options.reference else None
    program = _gates(image.config, options)
    return [check_network(image.config, mine, options.seed, image=image, reference=reference, program=program)]


def _run_all(image: Image, mine: Network, options: argparse.Namespace) -> ImagesRun:
    """The network's inputs through the machine, with progress on a terminal."""
    program = _gates(image.config, options)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{image.config.name}: images", total=len(options.inputs))
        run = run_all(
            image, mine, options.inputs, jobs=options.jobs, program=program, done=lambda n: progress.advance(task, n)
        )
    options.facts.append(run.facts(options.labels))
    return run


def _random_results(config: ArrayConfig, count: int, options: argparse.Namespace) -> Iterator[runner.BenchResult]:
    reference = _function(options.reference) if options.reference else None
    program = _gates(config, options)
    for checks in (
        check_networks(config, count, options.seed, reference=reference, program=program),
        check_programs(config, count, options.seed, program=program),
    ):
        for seed, result in enumerate(checks, options.seed):
            yield _repeatable(result, seed, _command(config, options, seed, "--random", "1"))


def _prepare(options: argparse.Namespace) -> tuple[list[ArrayConfig], Iterator[runner.BenchResult]]:
    """The builds to simulate, and the results to come; a network of the user's is mapped before anything is built."""
    configs = [load_config(path) for path in options.config or ()]
    if not options.network:
        configs = configs or [load_config(path) for path in DEFAULT_CONFIGS]
        return configs, _results(options, configs)
    mine = container.load(options.network)
    images = network.mapped(mine, configs)
    options.inputs, options.labels = network.inputs(
        mine, options.images, options.seed, data=options.data, name=options.data_set
    )
    if options.picture:
        from twofold.mapper.timeline import save_timeline

        save_timeline(images, options.picture)
    print(describe(mine), flush=True)
    for image in images:
        print(f"{mine.name} on {image.config.name}\n{layer_table(image)}", flush=True)
    return [image.config for image in images], _network_results(images, mine, options)


def _gates(config: ArrayConfig, options: argparse.Namespace) -> Path | None:
    return gates.build(config, options.gates) if options.gates else None


def _function(path: str) -> Reference:
    module, _, name = path.partition(":")
    # As `python -m` does: a module of the user's stands where the command is run.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return getattr(importlib.import_module(module), name)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="twofold sim", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("benches", nargs="*", help=f"of {', '.join(bench_names())}; all if none is given")
    parser.add_argument("--sim", choices=tools.SIMULATORS, default="verilator")
    parser.add_argument(
        "--config", type=Path, action="append", help="builds, TOML files or names; may be given several times"
    )
    parser.add_argument("--waves", action="store_true", help="record waveforms")
    parser.add_argument("--networks", type=int, default=3, help="random networks in the machine's bench")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N random networks and N random programs")
    parser.add_argument("--network", type=Path, help="a quantized network's folder, to be run on random inputs")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="SVG file of where its cycles go by layer")
    parser.add_argument("--images", type=int, metavar="N", help="inputs of the network (default: 3)")
    parser.add_argument(
        "--data", metavar="PATH", help="their source, a data set's path, or its name if it has none (default: random)"
    )
    parser.add_argument("--data-set", metavar="NAME", help="name of the data set (default: the network's own)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", default=os.cpu_count() or 1, help="simulators at a time (%(default)s)"
    )
    parser.add_argument(
        "--gates", choices=tuple(gates.STYLES), help="run networks and programs on the synthesised machine"
    )
    parser.add_argument(
        "--reference",
        metavar="MODULE:FUNCTION",
        help="a further opinion on the networks' layers, such as twofold.train.reference:run, PyTorch's integer mode",
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    for name in options.benches:
        if name not in bench_names():
            parser.error(f"Bench must be one of {tuple(bench_names())}, not {name!r}")
    if options.picture and not options.network:
        parser.error("--picture must be given with --network")
    if (options.images is not None or options.data) and (not options.network or _under_cocotb(options)):
        parser.error("--images and --data must be given with --network and without --waves and --sim icarus")
    for name in ("images", "jobs"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, not {value}")
    options.facts = []
    if options.network and (options.benches or options.random):
        parser.error("--network must be given without benches and --random")
    if (options.random or options.gates) and (options.benches or options.waves or options.sim != "verilator"):
        parser.error(
            "--random and --gates must be given without benches, --waves and --sim icarus: a C++ host runs them"
        )
    return options


def _network_facts(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a network on one build, in the report itself; of several builds, a list there."""
    for run in runs:
        print(
            f"{run['network']} on {run['build']}: {run['images']} images, {run['mismatches']} integers differ, "
            f"{run['cycles_predicted']} cycles predicted, {run['cycles_simulated']} simulated, "
            f"{run['wall_seconds_per_image']:.3g} s an image"
            + (f", accuracy {run['accuracy']:.4f}" if "accuracy" in run else "")
        )
    return {"networks": runs} if len(runs) > 1 else {key: value for run in runs for key, value in run.items()}


def main(arguments: list[str] | None = None) -> int:
    """Runs what is asked for; returns 0, 1 if anything failed, 2 if it could not be run."""
    options = _parse(arguments)
    started = time.monotonic()
    results: list[runner.BenchResult] = []
    try:
        configs, expected = _prepare(options)
        tool = tools.find(options.sim)
        print(f"{tool.version}, builds {', '.join(config.name for config in configs)}", flush=True)
        for result in expected:
            results.append(result)
            mark = "ok  " if result.passed else "FAIL"
            name = f"{result.bench}.{result.test}"
            print(f"{mark} {name:70} {result.cycles:9} cycles {result.seconds:7.2f} s", flush=True)
            if not result.passed:
                print(result.message, flush=True)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return failed(error)
    facts = {"simulator": tool.version, "configs": [config.name for config in configs], "seed": options.seed}
    runner.report(results, **facts, **_network_facts(options.facts))
    for path in sorted({result.waves for result in results if result.waves}):
        print(f"waves: {path}")
    wrong = sum(not result.passed for result in results)
    cycles = sum(result.cycles for result in results)
    print(
        f"{len(results) - wrong} of {len(results)} passed, {cycles} cycles in {time.monotonic() - started:.0f} s; "
        f"{runner.OUTPUT / 'report.json'}"
    )
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(run_command(main))

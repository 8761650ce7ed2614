"""``twofold sim``: cocotb benches of the components and of the whole machine; ``--random N`` for random networks."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from twofold.golden import container
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.image import Image
from twofold.golden.network import Network
from twofold.mapper.builds import describe
from twofold.mapper.layer_table import layer_table
from twofold.sim import coverage, gates, jobs, network, runner, tools
from twofold.sim.images import ImagesRun, run_all
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command
from twofold.support.files import write_text
from twofold.support.jobs import Engine, Job, add_options, engine

DESCRIPTION = "Benches of the components and of the machine; random networks; a network of yours."
EXAMPLES = (
    "twofold sim                                          all benches",
    "twofold sim requantiser --sim icarus --waves         one, with waveforms",
    "twofold sim --coverage                               which lines and bits of the hardware all benches reach",
    "twofold sim --random 200 --seed 7                    random networks and programs",
    "twofold sim --random 9000 --scheduler tcp://host:8786    on a Dask cluster's machines",
    "twofold sim --network NETWORK --config subset_8x8    your network on random inputs",
    "twofold sim --network NETWORK --images 100 --data PATH --jobs 8    on a data set's held-out images",
)
COVERAGE = runner.OUTPUT / "coverage.json"
DEFAULT_CONFIGS = (Path("log_4x4"), Path("subset_4x4"))


def bench_names() -> list[str]:
    """Every bench, those of components first."""
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    return sorted(found, key=lambda name: name in jobs.MACHINE_BENCHES)


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


#: A job that gives one result or several, and the seed and the command that repeat it.
Task = tuple[Job[Any], int, str]


def _tasks(options: argparse.Namespace, configs: list[ArrayConfig]) -> list[Task]:
    if options.random or options.gates:
        tasks: list[Task] = []
        for number, config in enumerate(configs):
            count = options.random or len(configs)
            share = count // len(configs) + (number < count % len(configs))
            tasks += _random_tasks(config, share, options)
        return tasks
    return [_bench_task(name, config, options) for config in configs for name in options.benches or bench_names()]


def _bench_task(name: str, config: ArrayConfig, options: argparse.Namespace) -> Task:
    arguments = (name, config, options.sim, options.waves, options.coverage, options.seed, options.networks)
    command = _command(config, options, options.seed, name, "--networks", str(options.networks))
    label = f"{name} of {config.name}"
    return Job(label, jobs.bench, arguments, _key(label, config)), options.seed, command


def _random_tasks(config: ArrayConfig, count: int, options: argparse.Namespace) -> list[Task]:
    kinds: dict[str, tuple[Callable[..., runner.BenchResult], tuple[str | None, ...]]] = {
        "network": (jobs.random_network, (options.gates, options.reference)),
        "program": (jobs.random_program, (options.gates,)),
    }
    tasks: list[Task] = []
    for kind, (function, more) in kinds.items():
        for seed in range(options.seed, options.seed + count):
            label = f"{kind} {seed} on {config.name}"
            job: Job[Any] = Job(label, function, (config, seed, *more), _key(label, config))
            tasks.append((job, seed, _command(config, options, seed, "--random", "1")))
    return tasks


def _network_task(image: Image, mine: Network, options: argparse.Namespace) -> Task:
    given = {"--images": options.images, "--data": options.data, "--data-set": options.data_set}
    more = [text for key, value in given.items() if value for text in (key, str(value))]
    command = _command(image.config, options, options.seed, "--network", str(options.network), *more)
    label = f"{mine.name} on {image.config.name}"
    key = _key(label, image.config)
    if _under_cocotb(options):
        chosen = (options.network.resolve(), options.seed, options.sim, options.waves, options.reference)
        return Job(label, jobs.users_network_under_cocotb, (image, mine, *chosen), key), options.seed, command
    arguments = (image, mine, options.seed, options.gates, options.reference)
    return Job(label, jobs.users_network, arguments, key), options.seed, command


def _key(label: str, config: ArrayConfig) -> str:
    """Builds may share a name."""
    return f"{label}, {config.build_hash:08x}"


def _run(tasks: list[Task], engine: Engine) -> Iterator[runner.BenchResult]:
    found = engine.results([job for job, _, _ in tasks])
    for result, (_, seed, command) in zip(found, tasks, strict=True):
        for one in result if isinstance(result, list) else [result]:
            yield _repeatable(one, seed, command)


def _run_images(
    images: list[Image], mine: Network, tasks: list[Task], options: argparse.Namespace, engine: Engine
) -> Iterator[runner.BenchResult]:
    for image, (_, seed, command) in zip(images, tasks, strict=True):
        run = _run_inputs(image, mine, options, engine)
        options.facts.append(run.facts(options.labels))
        yield _repeatable(run.result(), seed, command)


def _run_inputs(image: Image, mine: Network, options: argparse.Namespace, engine: Engine) -> ImagesRun:
    """The network's inputs through the machine, with progress on a terminal."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(f"{image.config.name}: images", total=len(options.inputs))
        return run_all(
            image, mine, options.inputs, engine, style=options.gates, done=lambda n: progress.advance(bar, n)
        )


def _under_cocotb(options: argparse.Namespace) -> bool:
    return bool(options.waves) or options.sim != "verilator"


def _prepare(options: argparse.Namespace, engine: Engine) -> tuple[list[ArrayConfig], Iterator[runner.BenchResult]]:
    """The builds to simulate, and the results to come; a network of the user's is mapped before anything is built."""
    configs = list(dict.fromkeys(load_config(path) for path in options.config or ()))
    if not options.network:
        configs = configs or [load_config(path) for path in DEFAULT_CONFIGS]
        return configs, _run(_tasks(options, configs), engine)
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
    tasks = [_network_task(image, mine, options) for image in images]
    run = _run(tasks, engine)
    if not _under_cocotb(options):
        run = chain(run, _run_images(images, mine, tasks, options, engine))
    return [image.config for image in images], run


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="twofold sim", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("benches", nargs="*", help=f"of {', '.join(bench_names())}; all if none is given")
    parser.add_argument("--sim", choices=tools.SIMULATORS, default="verilator")
    parser.add_argument(
        "--config", type=Path, action="append", help="builds, TOML files or names; may be given several times"
    )
    parser.add_argument("--waves", action="store_true", help="record waveforms")
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="count which lines of the Verilog the benches reach, and which bits toggle",
    )
    parser.add_argument("--networks", type=int, default=3, help="random networks in the machine's bench")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N random networks and N random programs")
    parser.add_argument("--network", type=Path, help="a quantized network's folder, to be run on random inputs")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="SVG file of where its cycles go by layer")
    parser.add_argument("--images", type=int, metavar="N", help="inputs of the network (default: 3)")
    parser.add_argument(
        "--data", metavar="PATH", help="their source, a data set's path, or its name if it has none (default: random)"
    )
    parser.add_argument("--data-set", metavar="NAME", help="name of the data set (default: the network's own)")
    add_options(parser)
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
    if options.coverage and (options.random or options.gates or options.network or _under_cocotb(options)):
        parser.error("--coverage must be given with benches only, without --waves and --sim icarus")
    if options.picture and not options.network:
        parser.error("--picture must be given with --network")
    if (options.images is not None or options.data) and (not options.network or _under_cocotb(options)):
        parser.error("--images and --data must be given with --network and without --waves and --sim icarus")
    if options.images is not None and options.images < 1:
        parser.error(f"--images must be at least 1, not {options.images}")
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


def _show_coverage(results: list[runner.BenchResult]) -> None:
    builds = {result.coverage: result.test.partition(" ")[0] for result in results if result.coverage}
    rows = coverage.summary(
        coverage.merge(coverage.read(Path(path), build) for path, build in builds.items()), coverage.exclusions()
    )
    write_text(COVERAGE, json.dumps({"coverage": rows}, indent=1) + "\n")
    print(coverage.table(rows))


def _shown(result: runner.BenchResult) -> runner.BenchResult:
    mark = "ok  " if result.passed else "FAIL"
    name = f"{result.bench}.{result.test}"
    print(f"{mark} {name:70} {result.cycles:9} cycles {result.seconds:7.2f} s", flush=True)
    if not result.passed:
        print(result.message, flush=True)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Runs what is asked for; returns 0, 1 if anything failed, 2 if it could not be run."""
    options = _parse(arguments)
    started = time.monotonic()
    try:
        with engine(options) as chosen:
            configs, expected = _prepare(options, chosen)
            tool = tools.find(options.sim)
            print(f"{tool.version}, builds {', '.join(config.name for config in configs)}", flush=True)
            results = [_shown(result) for result in expected]
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return failed(error)
    facts = {"simulator": tool.version, "configs": [config.name for config in configs], "seed": options.seed}
    runner.report(results, **facts, **_network_facts(options.facts))
    if options.coverage:
        _show_coverage(results)
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

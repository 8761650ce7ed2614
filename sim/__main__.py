"""``python -m sim``: cocotb benches of the components and of the whole machine; ``--random N`` for random networks."""

import argparse
import importlib
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from golden import container
from golden.config import ArrayConfig, load_config
from hdl.emit import emit, emit_component, top_name
from sim import gates, runner, settings, tools
from sim.random_check import Reference, check_network, check_networks, check_programs

DEFAULT_CONFIGS = (Path("configs/log_4x4.toml"), Path("configs/subset_4x4.toml"))
#: Benches of the whole machine; every other `bench_<component>` is of that component alone.
MACHINE_BENCHES = ("machine", "host")


def bench_names() -> list[str]:
    """Every bench, those of components first."""
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    return sorted(found, key=lambda name: name in MACHINE_BENCHES)


def run_bench(name: str, config: ArrayConfig, options: argparse.Namespace) -> list[runner.Result]:
    """Builds what a bench needs and runs it."""
    if name in MACHINE_BENCHES:
        text, top = emit(config), top_name(config)
    else:
        text, top = emit_component(name, config), f"twofold_{name}"
    design = runner.build(text, top, simulator=options.sim, waves=options.waves)
    values = settings.write(config, seed=options.seed, networks=options.networks, programs=5, damaged=200)
    results = runner.run(design, f"sim.bench_{name}", settings=values, seed=options.seed)
    return [replace(result, test=f"{config.name} {result.test}") for result in results]


def _results(options: argparse.Namespace, configs: list[ArrayConfig]) -> Iterator[runner.Result]:
    reference = _function(options.reference) if options.reference else None
    if options.network:
        network = container.load(options.network)
        for config in configs:
            yield check_network(config, network, options.seed, reference=reference, program=_gates(config, options))
    elif options.random or options.gates:
        count = options.random or len(configs)
        for number, config in enumerate(configs):
            share, program = count // len(configs) + (number < count % len(configs)), _gates(config, options)
            yield from check_networks(config, share, options.seed, reference=reference, program=program)
            yield from check_programs(config, share, options.seed, program=program)
    else:
        for config in configs:
            for name in options.benches or bench_names():
                yield from run_bench(name, config, options)


def _gates(config: ArrayConfig, options: argparse.Namespace) -> Path | None:
    return gates.build(config, options.gates) if options.gates else None


def _function(path: str) -> Reference:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("benches", nargs="*", help=f"of {', '.join(bench_names())}; all if none is given")
    parser.add_argument("--sim", choices=tools.SIMULATORS, default="verilator")
    parser.add_argument("--config", type=Path, action="append", help="builds, TOML files; may be given several times")
    parser.add_argument("--waves", action="store_true", help="record waveforms")
    parser.add_argument("--networks", type=int, default=3, help="random networks in the machine's bench")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N random networks and N random programs")
    parser.add_argument("--network", type=Path, help="a quantized network's folder, to be run on random inputs")
    parser.add_argument(
        "--gates", choices=tuple(gates.STYLES), help="run networks and programs on the synthesised machine"
    )
    parser.add_argument("--reference", metavar="MODULE:FUNCTION", help="a further opinion on the networks' layers")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    for name in options.benches:
        if name not in bench_names():
            parser.error(f"Bench must be one of {tuple(bench_names())}, not {name!r}")
    if (options.random or options.network or options.gates) and (
        options.benches or options.waves or options.sim != "verilator"
    ):
        parser.error(
            "--random, --network and --gates must be given without benches, --waves and --sim icarus: "
            "a C++ host runs them"
        )
    return options


def main(arguments: list[str] | None = None) -> int:
    """Runs what is asked for; returns 0, 1 if anything failed, 2 if it could not be run."""
    options = _parse(arguments)
    started = time.monotonic()
    results: list[runner.Result] = []
    try:
        configs = [load_config(path) for path in options.config or DEFAULT_CONFIGS]
        tool = tools.find(options.sim)
        print(f"{tool.version}, builds {', '.join(config.name for config in configs)}", flush=True)
        for result in _results(options, configs):
            results.append(result)
            mark = "ok  " if result.passed else "FAIL"
            name = f"{result.bench}.{result.test}"
            print(f"{mark} {name:70} {result.cycles:9} cycles {result.seconds:7.2f} s", flush=True)
            if not result.passed:
                print(result.message, flush=True)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    facts = {"simulator": tool.version, "configs": [config.name for config in configs], "seed": options.seed}
    runner.report(results, **facts)
    for path in sorted({result.waves for result in results if result.waves}):
        print(f"waves: {path}")
    failed = sum(not result.passed for result in results)
    cycles = sum(result.cycles for result in results)
    print(
        f"{len(results) - failed} of {len(results)} passed, {cycles} cycles in {time.monotonic() - started:.0f} s; "
        f"{runner.OUTPUT / 'report.json'}"
    )
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())

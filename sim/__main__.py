"""``python -m sim``: cocotb benches of the components and of the whole machine; ``--random N`` for random networks."""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from golden.config import ArrayConfig, load_config
from hdl.emit import emit, emit_component
from sim import runner, settings, tools
from sim.random_check import check_networks, check_programs

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
        text, top = emit(config), f"twofold_{config.name}"
    else:
        text, top = emit_component(name, config), name
    design = runner.build(text, top, simulator=options.sim, waves=options.waves)
    values = settings.write(config, seed=options.seed, networks=options.networks, programs=5, damaged=200)
    return runner.run(design, f"sim.bench_{name}", settings=values, seed=options.seed)


def _results(options: argparse.Namespace, configs: list[ArrayConfig]) -> Iterator[tuple[str, runner.Result]]:
    if options.random:
        for number, config in enumerate(configs):
            share = options.random // len(configs) + (number < options.random % len(configs))
            for check in (check_networks, check_programs):
                for result in check(config, share, options.seed):
                    yield config.name, result
        return
    for config in configs:
        for name in options.benches or bench_names():
            for result in run_bench(name, config, options):
                yield config.name, result


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("benches", nargs="*", help=f"of {', '.join(bench_names())}; all if none is given")
    parser.add_argument("--sim", choices=tools.SIMULATORS, default="verilator")
    parser.add_argument("--config", type=Path, action="append", help="builds, TOML files; may be given several times")
    parser.add_argument("--waves", action="store_true", help="record waveforms")
    parser.add_argument("--networks", type=int, default=3, help="random networks in the machine's bench")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N random networks and N random programs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    for name in options.benches:
        if name not in bench_names():
            parser.error(f"Bench must be one of {tuple(bench_names())}, not {name!r}")
    if options.random and (options.benches or options.waves or options.sim != "verilator"):
        parser.error("--random must be given without benches, --waves and --sim icarus: it runs on a C++ host")
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
        for name, result in _results(options, configs):
            results.append(result)
            mark = "ok  " if result.passed else "FAIL"
            line = (
                f"{mark} {name:12} {result.bench:20} {result.test:55} {result.cycles:9} cycles {result.seconds:7.2f} s"
            )
            print(line, flush=True)
            if not result.passed:
                print(result.message, flush=True)
    except (OSError, TypeError, ValueError, tools.ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    facts = {"simulator": tool.version, "configs": [config.name for config in configs], "seed": options.seed}
    runner.report(results, **facts)
    failed = sum(not result.passed for result in results)
    cycles = sum(result.cycles for result in results)
    print(
        f"{len(results) - failed} of {len(results)} passed, {cycles} cycles in {time.monotonic() - started:.0f} s; "
        f"{runner.OUTPUT / 'report.json'}"
    )
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())

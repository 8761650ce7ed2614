"""The folder that `twofold package` writes: whole, of one build, and what other tools read of it."""

import csv
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import yaml

from tests.support.outside import OUTSIDE, OUTSIDE_SEEDS, outside_network
from twofold.command import main
from twofold.golden.config import MACHINE_VERSION, ArrayConfig
from twofold.golden.container import save as save_network
from twofold.golden.image import input_frame
from twofold.golden.input_layout import InputLayout
from twofold.golden.registers import REGISTERS, registers
from twofold.kit.headers import network_header
from twofold.kit.package import package_files, save
from twofold.kit.testbench import vectors
from twofold.mapper.compiler import compile_network
from twofold.sim import tools
from twofold.support.digests import file_digest
from twofold.testing.random_network import random_inputs, random_network

#: The small build of other tests; its activations of 5 bits do not fill beats.
CONFIG = ArrayConfig(
    name="small",
    pe="log",
    rows=8,
    cols=2,
    word_bits=3,
    act_bits=5,
    feature_depth=128,
    weight_depth=256,
    channel_depth=32,
    program_depth=128,
    max_side=8,
)
TOP = "twofold_small"
#: Of a network of two outputs.
SEED = 11


@pytest.fixture(scope="module")
def given():
    network = random_network(SEED, CONFIG, layers=2, max_side=4)
    assert len(network.outputs) == 2
    return vectors(network, compile_network(network, CONFIG), random_inputs(1, network, 3))


@pytest.fixture(scope="module")
def files(given):
    return package_files(given, clock=80, wrappers=["litex", "wishbone"])


@pytest.fixture(scope="module")
def outside_given():
    """A network whose folded input and one of whose outputs lie outside."""
    network = outside_network(OUTSIDE_SEEDS[-1])
    return vectors(network, compile_network(network, OUTSIDE), random_inputs(1, network, 2))


@pytest.fixture(scope="module")
def outside_files(outside_given):
    return package_files(outside_given)


@pytest.fixture
def outside_folder(outside_files, tmp_path):
    save(outside_files, tmp_path / "package")
    return tmp_path / "package"


@pytest.fixture
def folder(files, tmp_path):
    save(files, tmp_path / "package")
    return tmp_path / "package"


def make(folder, *arguments, path=os.environ["PATH"]):
    # Under `make test` it would be a sub-make.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = ["make", *arguments]
    return subprocess.run(
        done, cwd=folder, capture_output=True, text=True, check=False, env={**environment, "PATH": path}
    )


@pytest.mark.parametrize("kind", ["folder", "outside_folder"])
def test_every_file_is_named_and_filled(kind, request):
    folder = request.getfixturevalue(kind)
    page = (folder / "README.md").read_text()
    manifest = json.loads((folder / "package.json").read_text())
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert manifest["files"] == {name: file_digest(path) for name, path in found.items() if name != "package.json"}
    texts = [path.read_text() for name, path in found.items() if not name.endswith(".bin")]
    assert [text for text in texts if re.search(r"@[A-Z_]+@", text)] == []
    for name, path in found.items():
        assert path.name in page or f"`{name.split('/')[0]}/`" in page or name.startswith("README"), name


def test_the_manifest_names_the_build(folder):
    manifest = json.loads((folder / "package.json").read_text())
    assert (manifest["build"], manifest["hash"]) == ("small", f"{CONFIG.build_hash:08x}")


def test_a_package_is_replaced_whole(files, folder):
    (folder / "build").mkdir()
    (folder / "build" / "log").touch()
    save({name: data for name, data in files.items() if name != "README.md"}, folder)
    assert not (folder / "build").exists() and not (folder / "README.md").exists()
    (folder / "rtl" / "mine.v").touch()
    with pytest.raises(ValueError, match=r": folder must be new or hold only a package, not 'rtl/mine.v'$"):
        save(files, folder)
    with pytest.raises(ValueError, match=r"Makefile: folder must be new or hold only a package, not 'Makefile'$"):
        save(files, folder / "Makefile")


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
def test_the_testbench_tells_right_from_wrong(given, folder):
    done = make(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    beats = len((folder / "sim" / "expected.mem").read_text().splitlines())
    assert f"\nPASS: 3 inferences, {beats} beats as golden, {given.image.cycles} cycles each\n" in done.stdout
    lines = (folder / "sim" / "expected.mem").read_text().splitlines()
    lines[-1] = f"{int(lines[-1], 16) ^ 1:017x}"
    (folder / "sim" / "expected.mem").write_text("\n".join(lines) + "\n")
    done = make(folder)
    assert done.returncode == 2
    assert "\nFAIL: 1 beats and 0 registers differ\n" in done.stdout


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
def test_the_testbench_has_the_memory_outside(outside_given, outside_folder):
    """It tells a wrong beat of an output on the chip, and of one outside."""
    files = [outside_folder / "sim" / name for name in ("expected.mem", "outside_expected.mem")]
    lines = [path.read_text().split() for path in files]
    done = make(outside_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    beats, cycles = sum(map(len, lines)), outside_given.image.cycles
    assert f"\nPASS: 2 inferences, {beats} beats as golden, {cycles} cycles each\n" in done.stdout
    for path, (first, *others) in zip(files, lines, strict=True):
        path.write_text("\n".join([f"{int(first, 16) ^ 1:0{len(first)}x}", *others]) + "\n")
    done = make(outside_folder)
    assert done.returncode == 2 and "\nFAIL: 2 beats and 0 registers differ\n" in done.stdout


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
@pytest.mark.parametrize("bus", ["wishbone", "litex"])
def test_the_machine_runs_from_another_bus(given, folder, bus):
    done = make(folder, f"BUS={bus}", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stdout + done.stderr
    beats = len((folder / "sim" / "expected.mem").read_text().splitlines())
    assert f"\nPASS: 3 inferences, {beats} beats as golden, {given.image.cycles} cycles each\n" in done.stdout


def test_the_testbench_runs_in_verilator_with_one_command(folder):
    """One that compiles quickly instead of running quickly."""
    quick = [f"{name}=-O0" for name in ("OPT_FAST", "OPT_SLOW", "OPT_GLOBAL")]
    path = os.pathsep.join([str(tools.find("verilator").path.parent.resolve()), os.environ["PATH"]])
    done = make(folder, "SIM=verilator", *quick, f"OBJCACHE={tools.object_cache()}", path=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nPASS: 3 inferences, " in done.stdout


@pytest.fixture(scope="module")
def library(given, files, tmp_path_factory):
    """Loads the driver, compiled for a network."""
    folder = tmp_path_factory.mktemp("driver")
    save(files, folder / "package")
    assert make(folder / "package", "driver").returncode == 0

    def load(image):
        path = folder / "package" / "driver"
        (path / "twofold_network.h").write_text(network_header(image))
        (path / "net.c").write_text('#include "twofold_network.h"\nconst twofold_network net = TWOFOLD_NETWORK;\n')
        name = str(folder / f"{len(list(folder.iterdir()))}.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", name, "net.c", "twofold.c"], cwd=path, check=True)
        loaded = ctypes.CDLL(name)
        return loaded, ctypes.byref(ctypes.c_byte.in_dll(loaded, "net"))

    return load


LAYOUTS = (
    None,
    InputLayout(kernel=(1, 1), stride=(2, 1), padding=(0, 0), dilation=(1, 1), size=(1, 4)),
    InputLayout(kernel=(2, 3), stride=(1, 2), padding=(1, 2), dilation=(2, 1), size=(3, 3)),
    InputLayout(kernel=(1, 2), stride=(1, 1), padding=(-1, -1), dilation=(1, 2), size=(2, 2)),
)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_input_frames_are_goldens(given, library, layout):
    """Six activations of 5 bits and a part of the seventh fill a beat."""
    image = replace(given.image, input=replace(given.image.input, layout=layout))
    driver, network = library(image)
    for x in given.inputs:
        expected = np.array(input_frame(image, x), dtype=np.uint32)
        found, integers = np.full_like(expected, 7), x.astype(np.int16)
        assert driver.twofold_input_beats(network) == len(expected)
        assert driver.twofold_input(network, _pointer(integers), _pointer(found)) == 0
        np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_values_beyond_the_format_are_refused(given, library):
    driver, network = library(given.image)
    tensor = given.image.input.tensor
    for value, right in ((tensor.low, 0), (tensor.low - 1, -6), (tensor.high, 0), (tensor.high + 1, -6)):
        x = np.zeros(tensor.shape, np.int16)
        x[-1, -1, -1] = value
        frame = np.zeros(driver.twofold_input_beats(network), np.uint32)
        assert driver.twofold_input(network, _pointer(x), _pointer(frame)) == right


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_output_tensors_are_goldens(given, library, files):
    driver, network = library(given.image)
    beats = np.array([int(line[-8:], 16) for line in files["sim/expected.mem"].decode().splitlines()], np.uint32)
    count = driver.twofold_output_beats(network)
    assert len(beats) == count * len(given.inputs)
    for n in range(len(given.inputs)):
        for number, tensors in enumerate(given.outputs):
            found = np.zeros(tensors[n].shape, np.int16)
            driver.twofold_output(network, number, _pointer(beats[n * count :]), _pointer(found))
            np.testing.assert_array_equal(found, tensors[n])


def _pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def test_the_header_states_the_machine(folder):
    header = (folder / "driver" / "twofold_machine.h").read_text()
    defined = dict(re.findall(r"^#define TWOFOLD_(\w+) (\w+)$", header, re.MULTILINE))
    # Written by hand from docs/machine.md.
    expected = {
        "REG_STATUS": 0x14,
        "REG_MODE": 0x20,
        "STATUS_ERROR_SHIFT": 8,
        "STATUS_ERROR_MASK": 255,
        "CONTROL_CLEAR_SHIFT": 1,
        "ID_VALUE": 0x32464C44,
        "VERSION_VALUE": MACHINE_VERSION,
        "BUILD_VALUE": CONFIG.build_hash,
        "FRAME_MAGIC": 0x444C4632,
        "HEADER_KIND_SHIFT": 24,
        "SECTION_FEATURE": 1,
        "SECTION_PROGRAM": 4,
        "ERROR_BUSY": 10,
        "ROWS": 8,
        "ACT_BITS": 5,
        "FEATURE_BEATS": 2,
    }
    assert {name: int(defined[name].rstrip("u"), 0) for name in expected} == expected


def test_files_for_other_tools_of_a_memory_outside(outside_folder):
    top = "twofold_outside_4x4"
    core = yaml.safe_load((outside_folder / f"{top}.core").read_text().partition("\n")[2])
    names = [name for part in core["filesets"].values() for entry in part["files"] for name in _names(entry)]
    assert len(names) == 9 and [name for name in names if not (outside_folder / name).is_file()] == []
    known = registers(OUTSIDE)
    rows = csv.reader((outside_folder / "registers" / f"{top}.csv").read_text().splitlines())
    assert {row[1]: int(row[2], 0) for row in rows if row[0] == "csr_register"} == {
        f"{top}_{name.lower()}": register.address for name, register in known.items()
    }
    rdl = (outside_folder / "registers" / f"{top}.rdl").read_text()
    assert re.findall(r"\} ([A-Z]+) @ (\w+);", rdl) == [(n, f"0x{r.address:02X}") for n, r in known.items()]
    assert "field { sw = rw; hw = r; } page[31:12] = 20'h0;" in rdl
    said = packaged(outside_folder)
    assert said.count("ipx::add_register ") == len(known)
    assert "set_property value s_axis:m_axis:s_axil:m_axi x" in said
    assert "ipx::add_address_space m_axi x" in said


def test_files_for_other_tools(folder):
    core = yaml.safe_load((folder / f"{TOP}.core").read_text().partition("\n")[2])
    names = [name for part in core["filesets"].values() for entry in part["files"] for name in _names(entry)]
    assert len(names) == 6 and [name for name in names if not (folder / name).is_file()] == []
    assert core["targets"]["default"]["toplevel"] == TOP
    rows = list(csv.reader((folder / "registers" / f"{TOP}.csv").read_text().splitlines()))
    assert {row[1]: int(row[2], 0) for row in rows if row[0] == "csr_register"} == {
        f"{TOP}_{name.lower()}": register.address for name, register in REGISTERS.items()
    }
    rdl = (folder / "registers" / f"{TOP}.rdl").read_text()
    assert re.findall(r"\} ([A-Z]+) @ (\w+);", rdl) == [(n, f"0x{r.address:02X}") for n, r in REGISTERS.items()]
    for suffix in ("sdc", "xdc"):
        text = (folder / "constraints" / f"{TOP}.{suffix}").read_text()
        assert "create_clock -name clk -period 12.500 [get_ports clk]" in text


def _names(entry):
    name = entry if isinstance(entry, str) else next(iter(entry))
    found = re.fullmatch(r"!?\w+\? \((.*)\)", name)
    return [found[1] if found else name]


def packaged(folder):
    """What Vivado is told; its commands say their words instead."""
    if shutil.which("tclsh") is None:
        pytest.skip("needs a Tcl interpreter")
    stubs = "proc unknown args {puts $args; return x}\nsource vivado/package_ip.tcl\n"
    done = subprocess.run(["tclsh"], input=stubs, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_packaging_script_is_tcl(folder):
    said = packaged(folder)
    assert f"set_property top {TOP} x" in said
    assert said.count("ipx::add_register ") == len(REGISTERS)
    assert "set_property value s_axis:m_axis:s_axil x" in said and "add_address_space" not in said
    assert said.endswith("ipx::save_core x\n")


def test_wrappers_of_builds_with_a_memory_outside_are_refused(given):
    outside = replace(given, image=replace(given.image, config=replace(CONFIG, memory="axi4")))
    with pytest.raises(ValueError, match=r"^Build of a wrapper must have memory = 'on_chip', not 'axi4'$"):
        package_files(outside, wrappers=["wishbone"])


def test_the_command_packages_a_network(given, tmp_path, capsys):
    network = random_network(SEED, CONFIG, layers=2, max_side=4, name="mine")
    save_network(network, tmp_path / "net")
    build = tmp_path / "small.toml"
    build.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in asdict(CONFIG).items()))
    out = tmp_path / "out"
    assert (
        main(
            [
                "package",
                str(build),
                "--network",
                str(tmp_path / "net"),
                "--out",
                str(out),
                "--inputs",
                "2",
                "--wrapper",
                "wishbone",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.startswith(f"{out}: 20 files, ")
    assert f"module {TOP}_wishbone(" in (out / "wrappers" / f"{TOP}_wishbone.v").read_text()
    assert "Network 'mine'" in (out / "driver" / "twofold_network.h").read_text()
    assert "PASS: 2 inferences" in (out / "sim" / "testbench.v").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--inputs", "0"], "Inputs must be at least one, not 0"),
        (["--clock", "0"], "Clock must be 1 to 2000 MHz, not 0.0"),
        (["--network", "none"], "none/network.json: file of a quantized network must exist"),
    ],
)
def test_errors_are_one_line(arguments, message, tmp_path, capsys):
    assert main(["package", "log_4x4", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "out").exists()

"""The C driver of a package, compiled, drives the simulated machine."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support.outside import OUTSIDE, OUTSIDE_SEEDS, outside_network
from twofold.golden.config import load_config
from twofold.kit.package import package_files, save
from twofold.kit.testbench import vectors
from twofold.mapper.compiler import compile_network
from twofold.sim.fast import build_machine
from twofold.sim.live import command
from twofold.testing.random_network import random_inputs, random_network

FLAGS = ("-std=c99", "-pedantic", "-O2", "-Wall", "-Wextra", "-Werror")
IMAGES = 10

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def compiled(folder: Path) -> Path:
    """The check, compiled with the driver of a package."""
    driver = folder / "driver"
    sources = [str(Path(__file__).parent / "driver_check.c"), str(driver / "twofold.c")]
    done = subprocess.run(
        ["cc", *FLAGS, "-I", str(driver), "-o", str(folder / "check"), *sources], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "check"


def drive(folder, config, network, pause):
    """What the check says of a network on the simulated machine."""
    given = vectors(network, compile_network(network, config), random_inputs(6, network, IMAGES))
    save(package_files(given), folder / "package")
    image = bytearray((folder / "package" / "network" / "image.bin").read_bytes())
    (folder / "image.bin").write_bytes(image)
    image[-1] ^= 1
    (folder / "damaged.bin").write_bytes(image)
    if given.image.outside is not None:
        shutil.copy(folder / "package" / "network" / "outside.bin", folder)
    given.inputs.astype(np.int16).tofile(folder / "inputs")
    flat = [tensor.reshape(IMAGES, -1) for tensor in given.outputs]
    np.concatenate(flat, axis=1).astype(np.int16).tofile(folder / "expected")
    check = compiled(folder / "package")
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command(build_machine(config), pause=pause), stdin=pipe, stdout=pipe) as machine,
        subprocess.Popen([check, folder], stdin=machine.stdout, stdout=machine.stdin, stderr=pipe) as driver,
    ):
        machine.stdin.close()
        machine.stdout.close()
        said = driver.communicate()[1].decode()
    assert said == f"{IMAGES} images, the CRC-32 of the beats differs, no answer in time\n"
    assert (driver.returncode, machine.returncode) == (0, 0)
    return given.image


@pytest.mark.parametrize("seed", [3, 7])
def test_the_driver_drives_the_machine(tmp_path, seed):
    config = load_config("configs/log_4x4.toml")
    drive(tmp_path, config, random_network(seed, config, layers=3, max_side=6), pause=90)


@pytest.mark.parametrize("seed", OUTSIDE_SEEDS)
def test_the_driver_drives_a_machine_with_a_memory_outside(tmp_path, seed):
    """In the cycles predicted, so without pauses."""
    drive(tmp_path, OUTSIDE, outside_network(seed), pause=0)

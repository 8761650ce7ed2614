"""The inferences of `bench.sim_speed` under cocotb; writes seconds, cycles and outputs to the file of its settings."""

import json
import time
from pathlib import Path

import cocotb

from twofold.bench.sim_speed import case
from twofold.golden.image import input_frame, read_outputs
from twofold.sim import settings
from twofold.sim.drivers import Host
from twofold.support.files import write_text

SETTINGS = settings.read()


@cocotb.test(timeout_time=1000, timeout_unit="ms")
async def inferences(dut):
    """As a user's bench would do them: the project's own AXI drivers, one inference after the other."""
    _, image, inputs = case(SETTINGS["config"], SETTINGS["seed"], SETTINGS["inputs"])
    host = Host(dut, seed=SETTINGS["seed"])
    await host.reset()
    assert not await host.send(image.beats)
    start = time.perf_counter()
    results = [await host.infer(input_frame(image, x)) for x in inputs]
    seconds = time.perf_counter() - start
    table = {
        "seconds": seconds,
        "cycles": [result.cycles for result in results],
        "outputs": [[one.tolist() for one in read_outputs(image, result.frames)] for result in results],
    }
    write_text(Path(SETTINGS["file"]), json.dumps(table))

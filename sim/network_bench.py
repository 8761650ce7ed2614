"""A network of the user's in the whole machine under cocotb: what can record waveforms and runs in every simulator."""

import cocotb
import numpy as np

from twofold.golden import container, image_folder, layers
from twofold.golden.image import input_frame, read_outputs
from twofold.sim import settings
from twofold.sim.compare import same_tensor
from twofold.sim.drivers import Host
from twofold.sim.probe import probed, read_layers
from twofold.testing.random_network import random_inputs

SETTINGS = settings.read()
SEED = SETTINGS["seed"]


@cocotb.test(timeout_time=10_000, timeout_unit="ms")
async def network_equals_golden(dut):
    """One random input: the output and then every layer equal golden, in the predicted cycles and passes."""
    network = container.load(SETTINGS["network"])
    image = image_folder.load(SETTINGS["image"])
    x = random_inputs(SEED, network, 1)
    expected = layers.run(network, x)
    host = Host(dut, seed=SEED)
    await host.reset()
    for variant in (image, probed(image)):
        assert not await host.send(variant.beats)
        assert not await host.send(input_frame(variant, x[0]))
        await host.control(1)
        result = await host.finish(2 * variant.cycles + 10_000)
        got, predicted = (result.error, result.cycles, result.passes), (0, variant.cycles, variant.passes)
        assert got == predicted, f"Error, cycles and passes must be {predicted}, not {got}"
        wanted = {name: tensor[0] for name, tensor in expected.items()}
        if variant is image:
            names = [one.name for one in network.outputs]
            wanted = dict(zip(names, network.results(wanted), strict=True))
            tensors = dict(zip(names, read_outputs(image, result.frames), strict=True))
        else:
            tensors = read_layers(variant, result.frames)
        for name, tensor in tensors.items():
            same_tensor(np.asarray(tensor), wanted[name], f"Layer {name!r}", inputs=f"random input of seed {SEED}")

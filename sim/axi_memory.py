"""The memory outside as benches have it: cocotbext-axi's, with random pauses and answers that are errors."""

import logging
import random
import warnings
from collections.abc import Iterator

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from cocotbext.axi import AxiBus, AxiRam, AxiRamRead, AxiRamWrite, AxiReadBus, AxiWriteBus

#: Bytes that it holds; addresses are taken modulo of it.
SIZE = 1 << 16
_KINDS = {"both": (AxiBus, AxiRam), "read": (AxiReadBus, AxiRamRead), "write": (AxiWriteBus, AxiRamWrite)}


class AxiMemory:
    """A memory on the master `axi` of a component.

    Parameters
    ----------
    dut
        The component, or the machine.
    prefix
        Of its ports' names.
    part
        ``read``, ``write`` or ``both``: the channels that there are.

    Attributes
    ----------
    bad
        Addresses in bytes (modulo `SIZE`) within it are answered with errors.
    """

    def __init__(self, dut, prefix: str, part: str = "both"):
        bus, ram = _KINDS[part]
        self.ram = ram(bus.from_prefix(dut, prefix), dut.clk, dut.rst, size=SIZE)
        self.bad = range(0)
        halves = [self.ram] if part != "both" else [self.ram.read_if, self.ram.write_if]
        self.channels = []
        for half in halves:
            half.log.setLevel(logging.ERROR)
            for name in ("ar_channel", "r_channel", "aw_channel", "w_channel", "b_channel"):
                if hasattr(half, name):
                    self.channels.append(getattr(half, name))
            if hasattr(half, "ar_channel"):
                half._read = self._refusing(half._read)
            else:
                half._write = self._refusing(half._write)
        for channel in self.channels:
            channel.log.setLevel(logging.ERROR)

    def _refusing(self, access):
        async def refusing(address, *arguments):
            if address % SIZE in self.bad:
                raise ValueError("address is bad")
            return await access(address, *arguments)

        return refusing

    def pause(self, probability: float, seed: int) -> None:
        """From now on every channel pauses at random, now and then for long."""
        for number, channel in enumerate(self.channels):
            channel.set_pause_generator(_pauses(probability, seed * 8 + number))

    def fill(self, numbers: random.Random) -> None:
        """Anything everywhere."""
        self.ram.write(0, numbers.randbytes(SIZE))


def _pauses(probability: float, seed: int) -> Iterator[bool]:
    numbers = random.Random(seed)
    while True:
        for _ in range(30 * (probability > 0 and numbers.random() < 0.02)):
            yield True
        yield numbers.random() < probability

"""A machine in a Zynq, reached by PYNQ: registers by its MMIO, streams by an AXI DMA in simple mode."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from twofold.golden.registers import REGISTERS

WORD = np.uint32


def check_access(register: str, *, write: bool) -> int:
    """Address of a register: an access that the machine refuses would be a bus error of the processor.

    Raises
    ------
    ValueError
        If the register cannot be read, or written.
    """
    found = REGISTERS.get(register)
    if found is None or not (found.writable if write else found.readable):
        raise ValueError(f"Register must be one that can be {'written' if write else 'read'}, not {register!r}")
    return found.address


class PynqLink:
    """To a machine by PYNQ's objects, as in ``PynqLink(overlay.twofold.mmio, overlay.axi_dma_0, pynq.allocate)``.

    Parameters
    ----------
    mmio
        A `pynq.MMIO` over the machine's registers.
    dma
        A `pynq.lib.dma.DMA` between memory and the machine's streams.
    allocate
        `pynq.allocate`: buffers that the DMA can read and write.
    timeout
        Seconds after which a transfer is overdue.
    """

    def __init__(self, mmio: Any, dma: Any, allocate: Callable[..., Any], *, timeout: float = 5.0) -> None:
        self.mmio, self.dma, self.allocate, self.timeout = mmio, dma, allocate, timeout

    def read(self, register: str) -> int:
        """A register's value."""
        return int(self.mmio.read(check_access(register, write=False)))

    def write(self, register: str, value: int) -> None:
        """Set a register."""
        self.mmio.write(check_access(register, write=True), value)

    def send(self, beats: Sequence[int]) -> None:
        """Send a frame and wait until the machine has taken it."""
        buffer = self.allocate(shape=(len(beats),), dtype=WORD)
        buffer[:] = np.array(beats, dtype=WORD)
        try:
            self._transfer(self.dma.sendchannel, buffer, "take a frame")
        finally:
            buffer.freebuffer()

    def receive(self, count: int) -> tuple[int, ...]:
        """Wait for an output frame of so many beats; a machine waits until its frame is taken."""
        buffer = self.allocate(shape=(count,), dtype=WORD)
        try:
            self._transfer(self.dma.recvchannel, buffer, "send a frame")
            return tuple(int(beat) for beat in buffer)
        finally:
            buffer.freebuffer()

    def close(self) -> None:
        """PYNQ's objects are the caller's."""

    def _transfer(self, channel: Any, buffer: Any, what: str) -> None:
        channel.transfer(buffer)
        end = time.monotonic() + self.timeout
        while not channel.idle:
            if time.monotonic() > end:
                # The DMA must not write to a buffer that is given back.
                channel.stop()
                channel.start()
                raise TimeoutError(f"Machine must {what} within {self.timeout:g} seconds")
        # Returns at once, and makes the buffer's memory what the processor sees.
        channel.wait()

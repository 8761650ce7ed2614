"""A machine in a Zynq, reached by PYNQ: registers by its MMIO, streams by an AXI DMA in simple mode.

The memory outside of a build that has one is a buffer in the processor's memory, which the machine's AXI4 master
reaches by a port of the processing system (HP or ACP).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from twofold.golden.registers import EVERY_REGISTER, REGISTERS, Register
from twofold.golden.transfers import ADDRESS_BITS, BURST_BYTES

WORD = np.uint32


def check_access(known: Mapping[str, Register], register: str, *, write: bool) -> int:
    """Address of a register: an access that the machine refuses would be a bus error of the processor.

    Raises
    ------
    ValueError
        If the register is not known, or cannot be read, or written.
    """
    found = known.get(register)
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
        #: The registers of a memory outside are known once there is one.
        self._known = REGISTERS
        self._memory: Any = None

    def read(self, register: str) -> int:
        """A register's value."""
        return int(self.mmio.read(check_access(self._known, register, write=False)))

    def write(self, register: str, value: int) -> None:
        """Set a register."""
        self.mmio.write(check_access(self._known, register, write=True), value)

    def reserve(self, size: int) -> int:
        """A buffer of so many bytes as the machine's memory outside, instead of the one before; its address.

        Raises
        ------
        ValueError
            If the buffer lies beyond the machine's addresses.
        """
        self._known = EVERY_REGISTER
        self._free()
        self._memory = self.allocate(shape=(size + BURST_BYTES,), dtype=np.uint8)
        # The machine's addresses begin on a page.
        self._begin = -self._memory.device_address % BURST_BYTES
        address = int(self._memory.device_address) + self._begin
        if address + size > 1 << ADDRESS_BITS:
            self._free()
            raise ValueError(f"Buffer must end below {1 << ADDRESS_BITS:#x}, not at {address + size:#x}")
        return address

    def fill(self, place: int, content: bytes) -> None:
        """Write bytes into the memory outside, past the processor's caches."""
        part = self._part(place, len(content))
        part[:] = np.frombuffer(content, dtype=np.uint8)
        part.flush()

    def fetch(self, place: int, count: int) -> bytes:
        """Bytes of the memory outside, not what the processor's caches have of them."""
        part = self._part(place, count)
        part.invalidate()
        return bytes(part.tobytes())

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
        """Give the memory outside back; PYNQ's objects are the caller's."""
        self._free()

    def _part(self, place: int, count: int) -> Any:
        return self._memory[self._begin + place : self._begin + place + count]

    def _free(self) -> None:
        if self._memory is not None:
            self._memory.freebuffer()
            self._memory = None

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

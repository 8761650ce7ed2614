"""Memories that a proof leaves out (`Checker.cut_memories`): what is read and written at their ports."""

from amaranth import Value

from twofold.formal.checker import Checker


class Memory:
    """The ports of a memory of the component, to follow one of its lines.

    Parameters
    ----------
    checker
        The proof.
    name
        Of the memory in the component.
    address_bits, bits
        Widths of its address and of a line.
    writers
        Write ports; one for each part of a line that has an enable of its own.
    readers
        Read ports.

    Attributes
    ----------
    address, line
        What the first port reads, and what the proof lets it give, in the same cycle: the component registers it.
    addresses, lines
        The same of every port.
    """

    def __init__(
        self, checker: Checker, name: str, *, address_bits: int, bits: int, writers: int, readers: int = 1
    ) -> None:
        asked = checker.peek(f"{name}.rd_addr", address_bits * readers)
        given = checker.peek(f"{name}.rd_data", bits * readers)
        self.addresses = [asked.word_select(n, address_bits) for n in range(readers)]
        self.lines = [given.word_select(n, bits) for n in range(readers)]
        self.address, self.line = self.addresses[0], self.lines[0]
        self._where = checker.peek(f"{name}.wr_addr", address_bits * writers)
        self._enable = checker.peek(f"{name}.wr_en", bits * writers)
        self._data = checker.peek(f"{name}.wr_data", bits * writers)
        self._writers = writers

    def after(self, address: Value, line: Value) -> Value:
        """What a line holds in the next cycle, given what it holds in this one."""
        after, bits = Value.cast(line), len(self.line)
        for n in range(self._writers):
            here = self._where.word_select(n, len(self.address)) == address
            enable = self._enable.word_select(n, bits) & here.replicate(bits)
            after = (after & ~enable) | (self._data.word_select(n, bits) & enable)
        return after

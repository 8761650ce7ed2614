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

    Attributes
    ----------
    address, line
        What is read, and what the proof lets it give, in the same cycle: the component registers it.
    """

    def __init__(self, checker: Checker, name: str, *, address_bits: int, bits: int, writers: int) -> None:
        self.address = checker.peek(f"{name}.rd_addr", address_bits)
        self.line = checker.peek(f"{name}.rd_data", bits)
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

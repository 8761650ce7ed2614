"""What the benches of single components share: a clock, inputs set on its falling edge, flat vectors of lanes."""

from collections.abc import Iterable

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from twofold.golden.config import ArrayConfig
from twofold.golden.fields import Record
from twofold.sim.runner import PERIOD_NS


class Driver:
    """Steps a component from falling edge to falling edge: what is set before a step is registered within it.

    Parameters
    ----------
    dut
        The component; purely combinational ones have no clock.
    """

    def __init__(self, dut):
        self.dut = dut
        self.clocked = hasattr(dut, "clk")

    async def start(self, *inputs: str) -> None:
        """Zeroes the inputs named, starts the clock and resets."""
        self.set(**dict.fromkeys(inputs, 0))
        if self.clocked:
            self.dut.rst.value = 1
            Clock(self.dut.clk, PERIOD_NS, unit="ns").start()
            await self.step(3)
            self.dut.rst.value = 0
        await self.step()

    async def step(self, cycles: int = 1) -> None:
        """Lets cycles pass."""
        for _ in range(cycles):
            await (FallingEdge(self.dut.clk) if self.clocked else Timer(PERIOD_NS, unit="ns"))

    async def settle(self) -> None:
        """Lets combinational outputs follow the inputs within this half cycle."""
        await Timer(1, unit="ns")

    def set(self, **values: int) -> None:
        """Drives inputs; a negative value as two's complement."""
        for name, value in values.items():
            port = self.dut[name]
            port.value = value & ((1 << len(port)) - 1)

    def get(self, name: str) -> int:
        """An output, unsigned."""
        return int(self.dut[name].value)


def join(values: Iterable[int], width: int) -> int:
    """A flat vector: lane 0 in the low bits, negative values as two's complement."""
    word = 0
    for lane, value in enumerate(values):
        word |= (value & ((1 << width) - 1)) << (lane * width)
    return word


def split(word: int, width: int, count: int, *, signed: bool = True) -> list[int]:
    """The lanes of a flat vector."""
    lanes = [word >> (lane * width) & ((1 << width) - 1) for lane in range(count)]
    return [lane - (lane >> (width - 1) << width) for lane in lanes] if signed else lanes


def struct(record: Record, **values: int) -> int:
    """A flat structure; what is not given is zero, and -1 stands for all ones."""
    assert set(values) <= set(record.fields), f"Fields must be {tuple(record.fields)}, not {tuple(values)}"
    word, position = 0, 0
    for name, width in record.widths.items():
        word |= (values.get(name, 0) & ((1 << width) - 1)) << position
        position += width
    return word


def word_record(config: ArrayConfig) -> Record:
    """A decoded word: a select for each term, and the sign."""
    return Record.unsigned({**config.fmt.row_fields, "sign": 1})


def word_bits(config: ArrayConfig) -> int:
    """Bits of a decoded word."""
    return word_record(config).width


def all_words(config: ArrayConfig) -> list[tuple[int, int, int]]:
    """Every decoded word: its bits, its level (LSBs) and its sign bit."""
    words = [(0, 0)]
    position = 0
    for (_, width), menu in zip(config.fmt.row_fields.items(), config.fmt.menus, strict=True):
        words = [
            (bits | select << position, level + (0 if shift is None else 1 << shift))
            for bits, level in words
            for select, shift in enumerate(menu)
        ]
        position += width
    return [(bits | sign << position, level, sign) for bits, level in words for sign in (0, 1)]


def product(config: ArrayConfig, level: int, sign: int, operand: int) -> int:
    """What a PE gives: the word times the operand, and the word's constant."""
    return (-level if sign else level) * operand + config.product_base(level, sign)

"""The window address generator visits exactly the positions of a pass, never leaves its buffer, and ends."""

from typing import Any

from amaranth import Cat, Module, Signal, signed

from formal.checker import Checker
from formal.faults import Fault
from golden.config import ArrayConfig, bits_for


def fits(config: ArrayConfig, window: Any, x: Any, y: Any) -> Any:
    """Whether a pass can be walked: its chunk fits the accumulators, and no coordinate overflows.

    Takes integers and Amaranth's values alike.
    """
    half = 1 << (config.coord_bits - 1)
    return (
        (window.width >= 1)
        & (window.height >= 1)
        & (window.width * window.height <= config.acc_depth)
        & (x + (window.width - 1) * window.step_x < half)
        & (y + (window.height - 1) * window.step_y < half)
    )


class _Walk(Checker):
    """The walk as it is specified: row i and column j of the chunk, and the coordinates there."""

    component = "window"

    def walk(self, m: Module) -> None:
        config, dut = self.config, self.dut
        self.taken = taken = dut.start.valid & dut.start.ready
        self.start = start = Signal.like(dut.start.payload, name="start", reset_less=True)
        i, j, n = (Signal(bits_for(config.max_side + 1), name=name, reset_less=True) for name in "ijn")
        self.i, self.j, self.n = i, j, n
        self.busy = busy = Signal()
        self.window = window = start.window
        self.last = (j == window.width - 1) & (i == window.height - 1)
        with m.If(busy):
            m.d.sync += n.eq(n + 1)
            with m.If(j == window.width - 1):
                m.d.sync += [j.eq(0), i.eq(i + 1)]
            with m.Else():
                m.d.sync += j.eq(j + 1)
            with m.If(self.last):
                m.d.sync += busy.eq(0)
        with m.If(taken):
            m.d.sync += [busy.eq(1), start.eq(dut.start.payload), i.eq(0), j.eq(0), n.eq(0)]
        given = dut.start.payload
        self.assume(~taken | fits(config, given.window, given.x, given.y))
        self.x = start.x + j * window.step_x
        self.y = start.y + i * window.step_y

        coordinate = signed(config.coord_bits)
        self.require(
            valid=dut.valid == busy,
            bounded=~busy | ((i < window.height) & (j < window.width)),
            fits=~busy | fits(config, window, start.x, start.y),
            x=~busy | (self.peek("x", coordinate) == self.x),
            y=~busy | (self.peek("y", coordinate) == self.y),
            left=~busy | (self.peek("left", coordinate) == start.x),
            column=~busy | (self.peek("column", len(window.width)) == window.width - j),
            row=~busy | (self.peek("row", len(window.height)) == window.height - i),
            window=~busy | (self.peek("window", window.shape().size) == window.as_value()),
        )


class WindowPositions(_Walk):
    """A pass visits position (i, j), in raster order, once each: number, feature line, inside or outside."""

    name = "window visits exactly the specified positions"
    faults = (
        Fault("window", "self.position.eq(self.position + 1)", "self.position.eq(self.position + 2)", "number"),
        Fault("window", "row_address.eq(row_address + window.row_step)", "row_address.eq(row_address + 1)", "line"),
        Fault("window", "(y >= window.in_height)", "(y > window.in_height)", "outside"),
        Fault("window", "last.eq(end_of_row & (row == 1))", "last.eq(row == 1)", "valid"),
    )

    def specify(self, m: Module) -> None:
        self.walk(m)
        dut, window, busy, i, j = self.dut, self.window, self.busy, self.i, self.j
        inside = (self.y >= 0) & (self.y < window.in_height) & (self.x >= 0) & (self.x < window.in_width)
        lines = (1 << len(dut.address)) - 1
        row_address = self.peek("row_address", len(dut.address))
        # The pass's first line, and row_step more for every row before.
        row_line = Signal.like(dut.address, name="row_line", reset_less=True)
        with m.If(busy & (j == window.width - 1)):
            m.d.sync += row_line.eq(row_line + window.row_step)
        with m.If(self.taken):
            m.d.sync += row_line.eq(dut.start.payload.address)
        self.require(
            ready=dut.start.ready == (~busy | self.last),
            first=~busy | (dut.first == ((i == 0) & (j == 0))),
            number=~busy | (dut.position == self.n),
            raster=~busy | (self.n == i * window.width + j),
            line=~busy | (dut.address == ((row_address + j * window.step_x) & lines)),
            row_address=~busy | (row_address == row_line),
            outside=~busy | (dut.outside == ~inside),
        )


class WindowBuffer(_Walk):
    """A pass over an input map reads, at (x, y) of the map, line x of the map's row y, and never calls another inside.

    A pass lies on a map if its first feature line is the one of its first (x, y), and `row_step` lines lie between rows
    that are `step_y` apart. So what is read at a position inside is a line of the map.
    """

    name = "window never leaves its buffer"
    faults = (
        Fault("window", "self.address.eq(row_address + window.row_step)", "self.address.eq(row_address)", "line"),
        Fault("window", "(x >= window.in_width)", "(x > window.in_width)", "within"),
    )

    def specify(self, m: Module) -> None:
        self.walk(m)
        dut, window, start, busy = self.dut, self.window, self.start, self.busy
        given = self.inputs["free_line"] = Signal.like(dut.address, name="free_line")
        #: Feature line of (0, y).
        row_line = Signal.like(given, name="row_line", reset_less=True)
        with m.If(busy & (self.j == window.width - 1)):
            m.d.sync += row_line.eq(row_line + window.row_step)
        with m.If(self.taken):
            m.d.sync += row_line.eq(given)
        taken = dut.start.payload
        lines = (1 << len(given)) - 1
        self.assume(~self.taken | (taken.address == ((given + taken.x) & lines)))
        x, y = self.peeks["x"], self.peeks["y"]
        row_address = self.peek("row_address", len(given))
        self.require(
            row_address=~busy | (row_address == ((row_line + start.x) & lines)),
            line=~busy | (dut.address == ((row_line + x) & lines)),
            within=~busy | dut.outside | ((x >= 0) & (x < window.in_width) & (y >= 0) & (y < window.in_height)),
        )


class WindowEnds(Checker):
    """Every pass ends, also one of zero rows or columns: what is left to walk gets less in every cycle."""

    name = "window ends every pass"
    component = "window"
    faults = (Fault("window", "row.eq(row - 1)", "row.eq(row)", "less"),)

    def specify(self, m: Module) -> None:
        dut = self.dut
        width = bits_for(self.config.max_side + 1)
        column, row = self.peek("column", width), self.peek("row", width)
        left = Signal(2 * width)
        m.d.comb += left.eq(Cat((column - 1)[:width], (row - 1)[:width]))
        before = self.past(m, left, "left")
        carried_on = self.past(m, dut.valid & ~(dut.start.valid & dut.start.ready), "carried_on")
        idle = self.past(m, ~dut.valid, "idle")
        self.require(
            less=~(self.running & carried_on & dut.valid) | (left < before),
            no_more=~(self.running & idle & dut.valid) | ~carried_on,
            ready=dut.valid | dut.start.ready,
        )


PROPERTIES: tuple[type[Checker], ...] = (WindowPositions, WindowBuffer, WindowEnds)

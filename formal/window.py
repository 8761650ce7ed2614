"""The window address generator visits exactly the positions of a pass, never leaves its buffer, and ends."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import CHAIN, ArrayConfig, bits_for


def fits(config: ArrayConfig, window: Any, x: Any, y: Any, chain: Any) -> Any:
    """Whether a pass can be walked: its chunk fits the accumulators, no coordinate overflows, and a chain gets on.

    Takes integers and Amaranth's values alike.
    """
    half = 1 << (config.coord_bits - 1)
    return (
        (window.width >= 1)
        & (window.height >= 1)
        & (window.width * window.height <= config.acc_depth)
        & (x + (window.width - 1) * window.step_x + chain * (CHAIN - 1) < half)
        & (y + (window.height - 1) * window.step_y < half)
        & ((chain == 0) | (window.step_x >= 1))
    )


class _Walk(Checker):
    """The walk as it is specified: row i and column j of the chunk, and the coordinates there.

    With `chain` column k of the input, from the row's first on; position (i, j) is complete at its third tap.
    """

    component = "window"

    def walk(self, m: Module) -> None:
        config, dut = self.config, self.dut
        self.taken = taken = dut.start.valid & dut.start.ready
        self.start = start = Signal.like(dut.start.payload, name="start", reset_less=True)
        i, j, n = (Signal(bits_for(config.max_side + 1), name=name, reset_less=True) for name in "ijn")
        k = Signal(config.coord_bits, name="k", reset_less=True)
        self.i, self.j, self.n = i, j, n
        self.busy = busy = Signal()
        self.window = window = start.window
        third = j * window.step_x + CHAIN - 1
        self.complete = ~start.chain | (k == third)
        self.row_ends = self.complete & (j == window.width - 1)
        self.last = self.row_ends & (i == window.height - 1)
        with m.If(busy):
            m.d.sync += [n.eq(n + self.complete), j.eq(j + self.complete), k.eq(k + 1)]
            with m.If(self.row_ends):
                m.d.sync += [j.eq(0), k.eq(0), i.eq(i + 1)]
            with m.If(self.last):
                m.d.sync += busy.eq(0)
        with m.If(taken):
            m.d.sync += [busy.eq(1), start.eq(dut.start.payload), i.eq(0), j.eq(0), k.eq(0), n.eq(0)]
        given = dut.start.payload
        self.assume(~taken | fits(config, given.window, given.x, given.y, given.chain))
        self.column = Mux(start.chain, k, j * window.step_x)
        self.x = start.x + self.column
        self.y = start.y + i * window.step_y

        coordinate = signed(config.coord_bits)
        self.require(
            busy=self.peek("busy") == busy,
            pause=~busy | (self.peek("pause", len(window.step_x)) == Mux(start.chain, third - k, 0)),
            chain=~busy | (self.peek("chain") == start.chain),
            valid=dut.valid == (busy & self.complete),
            bounded=~busy | ((i < window.height) & (j < window.width)),
            fits=~busy | fits(config, window, start.x, start.y, start.chain),
            x=~busy | (self.peek("x", coordinate) == self.x),
            y=~busy | (self.peek("y", coordinate) == self.y),
            left=~busy | (self.peek("left", coordinate) == start.x),
            column=~busy | (self.peek("column", len(window.width)) == window.width - j),
            row=~busy | (self.peek("row", len(window.height)) == window.height - i),
            window=~busy | (self.peek("window", window.shape().size) == window.as_value()),
        )


class WindowPositions(_Walk):
    """A pass visits position (i, j), in raster order, once each: number, feature line, inside or outside.

    A chain pass visits all input positions from each row's first to the third tap of its last output position.
    """

    name = "window visits exactly the specified positions"
    faults = (
        Fault("window", "self.position.eq(self.position + complete)", "self.position.eq(self.position + 1)", "number"),
        Fault("window", "row_address.eq(row_address + window.row_step)", "row_address.eq(row_address + 1)", "line"),
        Fault("window", "(y >= window.in_height)", "(y > window.in_height)", "outside"),
        Fault("window", "last.eq(end_of_row & (row == 1))", "last.eq(row == 1)", "busy"),
        Fault("window", "end_of_row.eq(complete & (column == 1))", "end_of_row.eq(column == 1)", "x"),
        Fault("window", "Mux(complete, window.step_x, pause)", "Mux(complete, CHAIN, pause)", "pause"),
        Fault("window", "step = Mux(chain, 1, window.step_x)", "step = window.step_x", "x"),
    )

    def specify(self, m: Module) -> None:
        self.walk(m)
        dut, window, busy, i = self.dut, self.window, self.busy, self.i
        inside = (self.y >= 0) & (self.y < window.in_height) & (self.x >= 0) & (self.x < window.in_width)
        lines = (1 << len(dut.address)) - 1
        row_address = self.peek("row_address", len(dut.address))
        # The pass's first line, and row_step more for every row before.
        row_line = Signal.like(dut.address, name="row_line", reset_less=True)
        with m.If(busy & self.row_ends):
            m.d.sync += row_line.eq(row_line + window.row_step)
        with m.If(self.taken):
            m.d.sync += row_line.eq(dut.start.payload.address)
        self.require(
            ready=dut.start.ready == (~busy | self.last),
            first=dut.first == (busy & (i == 0) & (self.column == 0) & (self.j == 0)),
            number=~busy | (dut.position == self.n),
            raster=~busy | (self.n == i * window.width + self.j),
            line=~busy | (dut.address == ((row_address + self.column) & lines)),
            row_address=~busy | (row_address == row_line),
            outside=~busy | (dut.outside == ~inside),
        )


class WindowBuffer(_Walk):
    """A pass over an input map reads, at (x, y) of the map, the map's line ``y * in_width + x``, and no line beside it.

    A pass lies on a map if the map lies in feature memory from some line on, the pass's first feature line is the one
    of its first (x, y), and `row_step` the lines of `step_y` rows. Where it is not outside, its line is one of the map:
    `line` has `row_step` added once a row, which is i times; `product` says that this makes ``y * in_width``, and
    `within` that the result is a line of the map.
    """

    name = "window never leaves its buffer"
    faults = (
        Fault("window", "self.address.eq(row_address + window.row_step)", "self.address.eq(row_address)", "line"),
        Fault("window", "(x >= window.in_width)", "(x > window.in_width)", "inside"),
        Fault("window", "(y < 0)", "(y < -1)", "within"),
    )

    def specify(self, m: Module) -> None:
        self.walk(m)
        config, dut, window, start, busy = self.config, self.dut, self.window, self.start, self.busy
        taken, given = dut.start.payload, dut.start.payload.window
        size = len(dut.address)

        def product(name: str, one: Value, other: Value) -> Signal:
            """Modulo the depth's power of two, as all lines are."""
            factors = [Signal(size, name=f"{name}{n}") for n in range(2)]
            result = Signal(size, name=name)
            m.d.comb += [factors[0].eq(one), factors[1].eq(other), result.eq(factors[0] * factors[1])]
            return result

        #: The map's first line.
        free = self.inputs["free_base"] = Signal(size, name="free_base")
        names = ("base", "first_row", "added")
        base, first_row, added = (Signal(size, name=name, reset_less=True) for name in names)
        given_row = product("given_row", taken.y, given.in_width)
        with m.If(busy & self.row_ends):
            m.d.sync += added.eq(added + window.row_step)
        with m.If(self.taken):
            m.d.sync += [base.eq(free), first_row.eq(given_row), added.eq(0)]
        lines = given.in_width * given.in_height
        self.assume(
            ~self.taken
            | (taken.address == (free + given_row + taken.x)[:size])
            & (given.row_step == product("given_step", given.step_y, given.in_width))
            & (lines + free <= config.feature_depth)
        )
        x, y = self.peeks["x"], self.peeks["y"]
        step = product("step", window.step_y, window.in_width)
        rows = Signal(size)
        m.d.comb += rows.eq(first_row + added)
        row_address = self.peek("row_address", size)
        place = y * window.in_width + x
        self.require(
            step=~busy | (window.row_step == step),
            row_address=~busy | (row_address == (base + rows + start.x)[:size]),
            line=~busy | (dut.address == (base + rows + x)[:size]),
            inside=~busy | dut.outside | ((x >= 0) & (x < window.in_width) & (y >= 0) & (y < window.in_height)),
            fits_memory=~busy | (window.in_width * window.in_height + base <= config.feature_depth),
        )
        map_y = Signal(size)
        m.d.comb += map_y.eq(start.y + product("walked", self.i, window.step_y))
        of_rows = product("of_first", start.y, window.in_width) + product("of_steps", self.i, step)
        self.require(
            first_row=~busy | (first_row == product("first", start.y, window.in_width)),
            map_y=~busy | (map_y == y & ((1 << size) - 1)),
        )
        self.require((), product=~busy | (product("of_y", map_y, window.in_width) == of_rows[:size]))
        lines = window.in_width * window.in_height
        within = (place >= 0) & (base + place < base + lines)
        self.require(("inside", "fits_memory"), within=~busy | dut.outside | within)


class WindowEnds(Checker):
    """Every pass ends, also one of zero rows or columns: what is left to walk gets less in every cycle."""

    name = "window ends every pass"
    component = "window"
    faults = (Fault("window", "row.eq(row - 1)", "row.eq(row)", "less"),)

    def specify(self, m: Module) -> None:
        dut = self.dut
        width = bits_for(self.config.max_side + 1)
        column, row = self.peek("column", width), self.peek("row", width)
        pause = self.peek("pause", len(dut.start.payload.window.step_x))
        busy = self.peek("busy")
        left = Signal(2 * width + len(pause))
        m.d.comb += left.eq(Cat(pause, (column - 1)[:width], (row - 1)[:width]))
        before = self.past(m, left, "left")
        carried_on = self.past(m, busy & ~(dut.start.valid & dut.start.ready), "carried_on")
        idle = self.past(m, ~busy, "idle")
        self.require(
            pause=self.peek("chain") | (pause == 0),
            less=~(self.running & carried_on & busy) | (left < before),
            no_more=~(self.running & idle & busy) | ~carried_on,
            ready=busy | dut.start.ready,
        )


PROPERTIES: tuple[type[Checker], ...] = (WindowPositions, WindowBuffer, WindowEnds)

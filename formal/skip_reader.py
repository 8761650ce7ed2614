"""The skip reader gives every group its lanes of its line."""

from amaranth import Cat, Module, Mux, Signal

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for


class SkipLanes(Checker):
    """Three cycles after a group its lanes of its line stand, zero or sign extended; zeros where there is no skip.

    The line is read in its first cycle, or in the next if the port is taken, and never while it is. Feature memory
    holds anything; proven of any one line of it, so of all. What is assumed is proven in `DrainPositions`.
    """

    name = "skip reader: every group gets its lanes of its line"
    component = "skip_reader"
    short = ("log_4x4",)
    fault_depth = 10
    faults = (
        Fault("skip_reader", "late.eq(wanted & self.taken)", "late.eq(0)", "asked"),
        Fault("skip_reader", "(wanted | late) & ~self.taken", "wanted | late", "free"),
        Fault("skip_reader", "with m.If(begun[1]):", "with m.If(begun[0]):", "held"),
        Fault("skip_reader", "with m.If(~self.on):", "with m.If(0):", "nothing"),
        Fault("skip_reader", "raw[-1] & self.is_signed", "raw[-1]", "lanes"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        k, units = bits_for(config.feature_depth), config.requant_units
        chosen = self.constant(m, "chosen", k)
        content = self.constant(m, "content", config.feature_bits)
        address = self.inputs["free_address"] = Signal(k, name="free_address")
        wanted = dut.on & dut.first
        begun = [self.past(m, wanted, "wanted") & self.running]
        late = self.past(m, wanted & dut.taken, "late") & self.running
        begun.append(self.past(m, begun[0], "begun") & self.running)
        self.assume(~(begun[0] & dut.first))
        self.assume(~(late & dut.taken))
        before = self.past(m, address, "address")
        self.assume(~begun[0] | (address == before))
        self.assume(dut.place < config.rows // units)

        #: The line asked for last; what the memory gives until the next is asked for.
        asked, known = Signal(k, reset_less=True), Signal()
        with m.If(dut.read.enable):
            m.d.sync += [asked.eq(address), known.eq(1)]
        self.assume(~known | (asked != chosen) | (dut.read.line.as_value() == content))
        #: The line that groups of now are of, whether there is one, and that of the line that the reader holds.
        current, held, live = Signal(k, reset_less=True), Signal(k, reset_less=True), Signal()
        m.d.sync += live.eq(dut.on & (live | dut.first))
        with m.If(wanted):
            m.d.sync += current.eq(address)
        with m.If(begun[1]):
            m.d.sync += held.eq(current)
        #: The groups of the last three cycles: their lines, whether they have one, their places.
        groups = [(Mux(wanted, address, current), dut.on & (live | dut.first), dut.place)]
        for n in range(3):
            parts = enumerate(groups[-1])
            line, there, place = (self.past(m, value, f"group{n}_{part}") for part, value in parts)
            groups.append((line, there & self.running & dut.on, place))
        (line1, there1, _), (line2, there2, _), (line3, there3, place3) = groups[1:]

        own = self.peek("line", config.feature_bits)
        places = [~groups[n + 1][1] | (self.peek(f"place{n}", len(dut.place)) == groups[n + 1][2]) for n in range(3)]
        lanes = content.word_select(place3, config.act_bits * units)
        wanted_lanes = []
        for unit in range(units):
            raw = lanes.word_select(unit, config.act_bits)
            wanted_lanes.append(Cat(raw, raw[-1] & dut.is_signed))
        off = self.past(m, ~dut.on, "off") & self.running
        self.require(
            places=Cat(places).all(),
            late=self.peek("late") == late,
            begun=self.peek("begun", 2) == Cat(begun),
            implied=~late | begun[0],
            alive=~(there1 | there2 | there3) | live,
            chain=(~(live & dut.on) | there1) & (~there1 | there2 | begun[0]) & (~there2 | there3 | begun[1]),
            recent=~begun[0] | (current == before),
            turns=~(begun[0] & begun[1]),
            asked=~(live & ~(begun[0] & late)) | (known & (asked == current)),
            first=~there1 | (line1 == current),
            second=~there2 | (line2 == Mux(begun[0], held, current)),
            third=~there3 | (line3 == held),
            settled=~live | begun[0] | begun[1] | (held == current),
            held=~there3 | (held != chosen) | (own == content),
            lanes=~there3 | (line3 != chosen) | (dut.activations.as_value() == Cat(wanted_lanes)),
            nothing=~off | (dut.activations.as_value() == 0),
            free=~(dut.read.enable & dut.taken),
        )


PROPERTIES: tuple[type[Checker], ...] = (SkipLanes,)

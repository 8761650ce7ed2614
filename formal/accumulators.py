"""The accumulators' read-modify-write: what a position holds after any sequence of updates."""

from typing import Any, ClassVar

from amaranth import Cat, Module, Mux, ResetSignal, Signal, Value, signed
from amaranth.lib import data

from twofold.formal.builds import SMALL
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.formal.memories import Memory
from twofold.golden.config import bits_for
from twofold.hdl.layouts import accumulators_layout


class AccumulatorUpdates(Checker):
    """One position of one bank, any of them: start, add, add shifted, maximum, columns left alone; and its reads.

    Nothing is asked of the other positions and the other bank, but that no position comes again within `min_pass`
    cycles. A memory's line is what was last written to it; the proof follows the line of its position.
    """

    name = "accumulators: read-modify-write of every position"
    component = "accumulators"
    short = ("log_4x4",)
    cut_memories = True
    fault_depth = 12
    fault_build: ClassVar[dict[str, Any]] = SMALL | {"rows": 2, "cols": 2, "load_columns": 1, "acc_width": 20}
    faults = (
        Fault("accumulators", "self.sums[col] << self.tag.shift", "self.sums[col] << tags[1].shift", "shifted"),
        Fault("accumulators", "(self.tag.bank == bank) & ~self.tag.first)", "~self.tag.first)", "old"),
        Fault("accumulators", "tags[1].first & tags[1].maximum, least", "tags[1].maximum, least", "base"),
        Fault("accumulators", "total[-1] & ~tags[2].outside", "total[-1]", "result"),
        Fault("accumulators", "tags[3].valid & (tags[3].bank == bank)", "tags[3].valid", "line"),
        Fault(
            "accumulators", "writes[bank].addr.eq(tags[3].position)", "writes[bank].addr.eq(tags[2].position)", "line"
        ),
        Fault("accumulators", "tags[3].col_mask, 0)", "(1 << config.cols) - 1, 0)", "line"),
        Fault(
            "accumulators",
            "m.d.sync += read_bank.eq(self.read.bank)",
            "m.d.comb += read_bank.eq(self.read.bank)",
            "read",
        ),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        layout = accumulators_layout(config)
        width, columns = config.acc_width, range(config.cols)
        position = self.constant(m, "position", range(config.acc_depth))
        bank = self.constant(m, "bank", 1)
        tag = dut.tag

        least = -(1 << (width - 1))

        def update(tag: data.View, old: Value, shifted: Value, masked: Value) -> Value:
            """What an accumulator becomes; `masked` is 1 where its column takes part."""
            start = Mux(tag.first, Mux(tag.maximum, least, 0), old)
            larger = Mux((shifted > start) & ~tag.outside, shifted, start)
            return Mux(masked, Mux(tag.maximum, larger, (start + shifted)[:width].as_signed()), old)

        def hits(tag: data.View) -> Value:
            return tag.valid & (tag.bank == bank) & (tag.position == position)

        #: Cycles since the position came; 0 from the fourth on.
        age = Signal(range(config.min_pass))
        self.assume(~hits(tag) | (age == 0))
        #: What the position holds, before it came last and after; and what its line of memory holds.
        now, before, cell = (Signal(layout, name=name, reset_less=True) for name in ("now", "before", "cell"))
        operation = Signal.like(tag, name="operation", reset_less=True)
        addend = Signal(layout, name="given_addend", reset_less=True)
        shifted = Signal(layout, name="given_shifted")
        for col in columns:
            for shift in range(1 << len(tag.shift)):
                with m.If(tag.shift == shift):
                    m.d.comb += shifted[col].eq(dut.sums[col] * (1 << shift))
        with m.If(age != 0):
            m.d.sync += age.eq(Mux(age == config.min_pass - 1, 0, age + 1))
        with m.If(hits(tag)):
            m.d.sync += [age.eq(1), operation.eq(tag), before.eq(now), addend.eq(shifted)]
            m.d.sync += [now[col].eq(update(tag, now[col], shifted[col], masked=tag.col_mask[col])) for col in columns]

        # The memory's line of this position: read before it is written.
        at, bits = bits_for(config.acc_depth), len(cell.as_value())
        banks = [Memory(self, f"bank{n}", address_bits=at, bits=bits, writers=config.cols) for n in range(2)]
        for n, memory in enumerate(banks):
            self.assume((bank != n) | (memory.address != position) | (memory.line == cell.as_value()))
        m.d.sync += cell.eq(Mux(bank, *(memory.after(position, cell.as_value()) for memory in reversed(banks))))
        # A reset drops updates under way: what stands then is where the next begin.
        unknown = self.inputs["free_line"] = Signal(bits, name="free_line")
        with m.If(ResetSignal()):
            m.d.sync += [cell.eq(unknown), now.eq(unknown)]

        tags = [self.peek(f"tag{n}", len(tag.as_value())) for n in (1, 2, 3)]
        views = [data.View(tag.shape(), value) for value in tags]
        self.require(
            ages=age < config.min_pass,
            **{f"pending{n}": (age == n) == hits(view) for n, view in enumerate(views, 1)},
            **{f"tag{n}": (age != n) | (value == operation.as_value()) for n, value in enumerate(tags, 1)},
        )
        takes = self.peek("takes", 2)
        lines = {name: layout(self.peek(name, bits)) for name in ("shifted", "addend", "base", "result")}
        start = [Mux(operation.first & operation.maximum, least, 0) for _ in columns]
        kept = [Mux(operation.first, 0, before[col]) for col in columns]
        updates: list[Value] = []
        right: dict[str, list[Value]] = {name: [] for name in ("old", "shifted", "addend", "base", "result")}
        for col in columns:
            old = self.peek(f"old{col}", signed(width))
            right["old"].append(old == kept[col])
            right["shifted"].append(lines["shifted"][col] == addend[col])
            right["addend"].append(lines["addend"][col] == addend[col])
            right["base"].append(lines["base"][col] == Mux(operation.first, start[col], before[col]))
            right["result"].append(lines["result"][col] == update(operation, before[col], addend[col], Value.cast(1)))
            applied = update(operation, before[col], addend[col], operation.col_mask[col])
            updates.append(now[col] == applied)
        self.require(("ages",), now=(age == 0) | Cat(updates).all())
        after = {"old": 1, "shifted": 1, "addend": 2, "base": 2, "result": 3}
        self.require(
            takes=(age != 1) | (takes == Mux(operation.first, 0, Mux(bank, 2, 1))),
            line=cell.as_value() == Mux(age == 0, now.as_value(), before.as_value()),
            **{name: (age != after[name]) | Cat(equal).all() for name, equal in right.items()},
        )
        # A read of the position, four cycles after it came last, while passes work on the other bank.
        asked = (dut.read.bank == bank) & (dut.read.position == position) & (age == 0)
        asked &= ~(tag.valid & (tag.bank == bank))
        read = self.past(m, asked, "asked") & self.running
        self.require(read=~read | (dut.read.line.as_value() == self.past(m, now.as_value(), "now")))


PROPERTIES: tuple[type[Checker], ...] = (AccumulatorUpdates,)

"""The compute path: a position's line, operands, words and tag meet at the right cycles."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from twofold.formal.builds import SMALL
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for
from twofold.hdl.layouts import tag_layout

#: Operands of a pass about the bits that it reads.
READS = ("drop", "clip")


class ComputeTags(Checker):
    """Any position of any pass, from its issue to the accumulators, through all that other positions do meanwhile.

    One that completes no output position has a tag, too, which says so. Its feature line is the one that stands a cycle
    after its address; a cycle later the array has its operands, and the tile's words have become active before the
    first position of its pass is there, and in no other cycle: a pass that keeps the tile leaves it. `tree_stages`
    later, when the array gives its sums, the accumulators get the tag with its number, and with bank, shift and columns
    of its own pass. What window generator, operands, array and accumulators do with that is proven of each.
    """

    name = "compute path: the tag that comes with a sum is its position's"
    component = "compute"
    short = ("log_4x4", "log_4x4 with narrow reads")
    cut_memories = True
    fault_depth = 9
    fault_build = SMALL | {"narrow_reads": True}
    faults = (
        Fault(
            "compute",
            "accumulators.tag.eq(tags[-1])",
            "accumulators.tag.eq(tags[-1].as_value() | tags[-2].as_value())",
            "tag",
        ),
        Fault("compute", "live.eq(Mux(window.outside, 0, current.row_mask))", "live.eq(current.row_mask)", "operands"),
        Fault("compute", "is_signed.eq(current.signed)", "is_signed.eq(taken.signed)", "operands"),
        Fault("compute", "swap.eq(window.first & ~current.kept)", "swap.eq(window.first)", "swap"),
        Fault("compute", "chain.eq(current.chain)", "chain.eq(taken.chain)", "operands"),
        Fault("compute", "narrow_masks(current.drop, current.clip", "narrow_masks(current.clip, current.drop", "bits"),
        Fault("compute", "bit < top, 1) & (clip > top", "bit < top, 1) & (clip >= top", "bits"),
        Fault("compute", "issued.bank.eq(bank)", "issued.bank.eq(self.start.payload.bank)", "stage0"),
        Fault("compute", "window.start.payload.y.eq(taken.y)", "window.start.payload.y.eq(taken.x)", "connected"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        last, narrow = 2 + config.tree_stages, config.narrow_reads
        layout = tag_layout(config)
        start = Signal.like(dut.start.payload, name="pass_start", reset_less=True)
        begun = Signal(name="begun")
        with m.If(dut.start.valid & dut.start.ready):
            m.d.sync += [start.eq(dut.start.payload), begun.eq(1)]
        window = {
            name: self.peek(f"window.{name}", size)
            for name, size in (("valid", 1), ("first", 1), ("outside", 1), ("position", bits_for(config.acc_depth)))
        }
        issue = Signal(layout, name="issue")
        taken = start["pass"]
        m.d.comb += [issue[name].eq(window[name]) for name in ("valid", "outside", "position")]
        m.d.comb += [issue[name].eq(taken[name]) for name in ("shift", "first", "maximum", "col_mask")]
        m.d.comb += issue.bank.eq(start.bank)

        #: The position that is followed: chosen freely, one after the other. Cycles since its issue; `last` + 1: none.
        age = Signal(range(1, last + 2), init=last + 1)
        chosen = self.inputs["free_choice"] = Signal(name="free_choice")
        issued = Signal(layout, name="given_tag", reset_less=True)
        first, row_mask = Signal(name="given_first", reset_less=True), Signal(config.rows, reset_less=True)
        is_signed, chain = (Signal(name=f"given_{name}", reset_less=True) for name in ("signed", "chain"))
        reads = (
            {name: Signal.like(taken[name], name=f"given_{name}", reset_less=True) for name in READS} if narrow else {}
        )
        with m.If(age != last + 1):
            m.d.sync += age.eq(age + 1)
        with m.Elif(chosen & begun):
            m.d.sync += [
                age.eq(1),
                issued.eq(issue),
                first.eq(window["first"] & ~taken.kept),
                row_mask.eq(taken.row_mask),
                is_signed.eq(taken.signed),
                chain.eq(taken.chain),
                *(signal.eq(taken[name]) for name, signal in reads.items()),
            ]

        begins = window["first"] & ~taken.kept
        tags = {0: issue.as_value()}
        for n in range(1, last + 1):
            tags[n] = self.peek(f"tag{n}", layout.size)
        arrived = self.peek("accumulators.tag", layout.size)
        inputs = Cat(
            self.peek("operands$.live", config.rows), self.peek("operands$.is_signed"), self.peek("operands$.chain")
        )
        live = Mux(issued.outside, 0, row_mask)
        self.require(
            ages=(age >= 1) & (age <= last + 1),
            given=(dut.start.ready & ~window["valid"] & ~window["first"]) | begun,
            stage0=~begun | (self.peek("issued", layout.size) == issue.as_value()),
            **{"pass": ~begun | (self.peek("current", len(taken.as_value())) == taken.as_value())},
            **{f"stage{n}": (age != n) | (tags[n] == issued.as_value()) for n in range(1, last + 1)},
            tag=(age != last) | (arrived == issued.as_value()),
            operands=(age != 1) | (inputs == Cat(live, is_signed, chain)),
            bits=(age != 1) | self._bits(reads, is_signed) if narrow else Const(1),
            swap=(age != 1) | (self.peek("array.swap") == first),
            # Words change for no other reason than the first position of a pass that loads.
            kept=~self.running | (self.peeks["array.swap"] == self.past(m, begins, "first")),
        )
        # After a reset nothing is under way.
        valid = Cat(data.View(layout, tags[n]).valid for n in range(1, last + 1))
        self.require(empty=self.running | ((Cat(valid, window["valid"], self.peeks["array.swap"])) == 0))
        # Sums come for every cycle; those of a cycle without a position change nothing.
        nothing = self.past(m, ~window["valid"], "nothing0") & self.running
        for n in range(1, last + 1):
            self.require(**{f"nothing{n}": ~nothing | ~data.View(layout, tags[n]).valid})
            nothing = self.past(m, nothing, f"nothing{n}") & self.running
        self.require((), connected=Cat(self._connected()).all())

    def _bits(self, reads: dict[str, Signal], is_signed: Value) -> Value:
        """Whether the operands have the masks of a pass: of what it drops, and of what it clips, below a sign."""
        bits = self.config.act_bits
        kept, clipped = self.peek("operands$.kept", bits), self.peek("operands$.clipped", bits)
        ones = Const((1 << bits) - 1, bits)
        beyond = ones & ~(ones >> reads["clip"])
        return (kept == (ones << reads["drop"])[:bits]) & (clipped == (beyond >> is_signed)[:bits])

    def _connected(self) -> list[Value]:
        """Everything else is a wire."""
        config, dut = self.config, self.dut
        lines, sums = config.rows * config.act_bits, config.cols * config.sum_bits
        given, start = dut.start.payload, "window.start__payload"
        wires = {
            "window.start__valid": dut.start.valid,
            start: Cat(given.window, *(given["pass"][name] for name in ("address", "x", "y", "chain"))),
            "operands$.line": dut.feature.line,
            "array.operands$": self.peek("operands$.operands", lines),
            **{f"array.{name}": self.peek(f"operands$.{name}", lines) for name in ("once", "twice")},
            "array.line_load": dut.load,
            "array.line_words": dut.words,
            "accumulators.sums": self.peek("array.sums", sums),
            "accumulators.read__bank": dut.accumulators.bank,
            "accumulators.read__position": dut.accumulators.position,
        }
        outputs = {
            "window.start__ready": dut.start.ready,
            "window.address": dut.feature.address,
            "accumulators.read__line": dut.accumulators.line,
        }
        values = {name: Value.cast(value) for name, value in (wires | outputs).items()}
        return [self.peek(name, len(value)) == value for name, value in values.items()]


PROPERTIES: tuple[type[Checker], ...] = (ComputeTags,)

"""The loader takes every beat of a frame once, in order, and writes exactly the lines that the frame holds."""

from functools import reduce
from operator import xor

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.isa import FRAME_MAGIC, SECTION_HEADER, STREAM_BITS, Section, line_beats, line_count
from twofold.golden.registers import Error
from twofold.hdl.layouts import record_layout

#: Parts of a frame, by the numbers that Amaranth gives the loader's states.
MAGIC, BUILD, DROP, HEADER, ADDRESS, CHECKSUM, LINE = range(7)

#: The checksum as Amaranth's library defines it; its register holds the complement, of all ones before the first beat.
CRC = CRC32_ISO_HDLC(STREAM_BITS)
ALL = (1 << STREAM_BITS) - 1


def _crc(register: Value, beat: Value) -> Value:
    """The register after a beat: linear in both, so that what each bit of them changes says all."""
    none, mixed = CRC.compute([0]), register ^ beat
    changes = [CRC.compute([1 << bit]) ^ none for bit in range(STREAM_BITS)]
    return Cat(
        reduce(xor, (mixed[bit] for bit in range(STREAM_BITS) if changes[bit] >> place & 1))
        for place in range(STREAM_BITS)
    )


class LoaderFrames(Checker):
    """Frames as docs/machine.md writes them, any beats and any pauses: the lines written, the end, the errors.

    A line is written once, in the cycle after its last beat, to its address, within its memory. A beat is taken in
    every cycle in which the loader is enabled, whatever the frame holds, so nothing can make it stop.
    """

    name = "input stream: nothing lost, doubled or reordered, no deadlock"
    component = "loader"
    short = ("log_4x4",)
    fault_depth = 12
    faults = (
        Fault(
            "loader",
            "self.write.address.eq(self.write.address + 1)",
            "self.write.address.eq(self.write.address)",
            "address",
        ),
        Fault("loader", "with m.If(frame.index == n):", "with m.If(frame.index == 0):", "words"),
        Fault(
            "loader",
            "left.eq(frame.left - 1), self.write_valid.eq(1)",
            "left.eq(frame.left - 1), self.write_valid.eq(frame.left != 1)",
            "write",
        ),
        Fault("loader", "with m.If(frame.beat > frame.room):", "with m.If(frame.beat > frame.room + 1):", "error"),
        Fault("loader", "with m.If(frame.beat != ~frame.checksum):", "with m.If(0):", "finished"),
        Fault(
            "loader", "following(frame.checksum, frame.beat)", "following(frame.checksum, frame.beat[1:])", "checksum"
        ),
        Fault("loader", "after([isa.FRAME_MAGIC,", "after([isa.FRAME_MAGIC + 1,", "checksum"),
        Fault("loader", "self.i.ready.eq(self.enable)", "self.i.ready.eq(self.enable & ~self.write_valid)", "ready"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        none = {Section.END} | ({Section.POINTS} if config.pe == "log" else set())
        none |= set() if config.tables else {Section.TABLES}
        kinds = [kind for kind in Section if kind not in none]
        words = {kind: line_beats(config, kind) for kind in kinds}
        depths = {kind: line_count(config, kind) for kind in kinds}
        most = max(words.values())
        beat, last = dut.i.payload.data, dut.i.payload.last
        taken = dut.i.valid & dut.i.ready
        header = data.View(record_layout(SECTION_HEADER), beat)

        part = Signal(3)
        kind, total = Signal(8, reset_less=True), Signal(STREAM_BITS, reset_less=True)
        count, done = Signal(24, reset_less=True), Signal(24, reset_less=True)
        first, word = Signal(STREAM_BITS, reset_less=True), Signal(range(most + 1), reset_less=True)
        program, given, touched = Signal(name="program"), Signal(name="given"), Signal(name="touched")
        history = Signal(most * STREAM_BITS, reset_less=True)
        line_words, depth = Signal(range(most + 1)), Signal(25)
        for choice in kinds:
            with m.If(kind == choice):
                m.d.comb += [line_words.eq(words[choice]), depth.eq(depths[choice])]
        whole = word == line_words - 1
        known = Cat(header.kind == choice for choice in kinds).any()
        in_range = (beat + count) <= depth

        fault = Signal(8)
        with m.Switch(part):
            with m.Case(MAGIC):
                m.d.comb += fault.eq(Mux(beat == FRAME_MAGIC, 0, Error.MAGIC))
            with m.Case(BUILD):
                m.d.comb += fault.eq(Mux(beat == config.build_hash, 0, Error.BUILD))
            with m.Case(HEADER):
                good = known | ((header.kind == Section.END) & (header.count == 0))
                m.d.comb += fault.eq(Mux(good, 0, Error.SECTION))
            with m.Case(ADDRESS):
                m.d.comb += fault.eq(Mux(in_range, 0, Error.RANGE))
            with m.Case(CHECKSUM):
                m.d.comb += fault.eq(Mux(beat == ~total, Mux(last, 0, Error.TRAILING), Error.CHECKSUM))
        code = Signal(8)
        early = last & (part != CHECKSUM)
        m.d.comb += code.eq(Mux(part == DROP, 0, Mux(fault != 0, fault, Mux(early, Error.TRUNCATED, 0))))
        follows = Signal(3)
        with m.Switch(part):
            with m.Case(MAGIC):
                m.d.comb += follows.eq(BUILD)
            with m.Case(BUILD):
                m.d.comb += follows.eq(HEADER)
            with m.Case(HEADER):
                m.d.comb += follows.eq(Mux(header.kind == Section.END, CHECKSUM, ADDRESS))
            with m.Case(ADDRESS):
                m.d.comb += follows.eq(Mux(count == 0, HEADER, LINE))
            with m.Case(LINE):
                m.d.comb += follows.eq(Mux(whole & (done == count - 1), HEADER, LINE))
        ends = taken & (part == CHECKSUM) & (code == 0)

        wrote = Signal()
        m.d.sync += wrote.eq(taken & (part == LINE) & whole)
        with m.If(taken):
            m.d.sync += [
                part.eq(Mux(last, MAGIC, Mux((code != 0) | (part == DROP), DROP, follows))),
                total.eq(_crc(Mux(part == MAGIC, ALL, total), beat)),
                history.eq(Cat(history[STREAM_BITS:], beat)),
            ]
            with m.If(part == HEADER):
                m.d.sync += [kind.eq(header.kind), count.eq(header.count)]
            with m.If(part == ADDRESS):
                m.d.sync += [first.eq(beat), done.eq(0), word.eq(0)]
                with m.If(in_range):
                    m.d.sync += [
                        program.eq(program | (kind == Section.PROGRAM)),
                        given.eq(given | (kind == Section.FEATURE)),
                        touched.eq(touched | (kind != Section.FEATURE)),
                    ]
            with m.If(part == LINE):
                m.d.sync += [word.eq(Mux(whole, 0, word + 1)), done.eq(done + whole)]
        with m.If(ends | (taken & (code != 0))):
            m.d.sync += [program.eq(0), given.eq(0), touched.eq(0)]

        #: The beats of the line that is being taken, and of the one just taken, first beat lowest.
        begun, complete = Signal.like(history, name="begun"), Signal.like(history, name="complete")
        for n in range(most + 1):
            for count_of, words_of in ((word, begun), (line_words, complete)):
                with m.If(count_of == n):
                    m.d.comb += words_of.eq(history >> ((most - n) * STREAM_BITS))
        number = Signal(24)
        m.d.comb += number.eq(first + done - wrote)
        address = dut.write.address
        self.require(
            ready=dut.i.ready == dut.enable,
            parts=part <= LINE,
            state=self.peek("fsm_state", 3) == part,
            between=dut.loading.between == (part == MAGIC),
            kind=~((part == LINE) | (part == ADDRESS) | wrote) | (dut.write.kind == kind),
            count=~(part == LINE) | (done < count),
            known=~((part == LINE) | (part == ADDRESS) | wrote) | Cat(kind == choice for choice in kinds).any(),
            left=~((part == LINE) | (part == ADDRESS))
            | (self.peek("left", 24) == Mux(part == ADDRESS, count, count - done)),
            word=~(part == LINE)
            | ((self.peek("index", max(1, (most - 1).bit_length())) == word) & (word < line_words)),
            start=~(part == ADDRESS) | (self.peeks["index"] == 0),
            length=~((part == LINE) | (part == ADDRESS))
            | (self.peek("last_index", max(1, (most - 1).bit_length())) == line_words - 1),
            room=~(part == ADDRESS) | (self.peek("room", 25).as_signed() == depth - count),
            within=~((part == LINE) | wrote) | ((first + Mux(part == LINE, count, done) <= depth) & (done <= count)),
            begun=~(part == BUILD) | (total == CRC.compute([FRAME_MAGIC]) ^ ALL),
            checksum=(part <= DROP) | (self.peek("checksum", 32) == total),
            pending=~wrote | (done >= 1),
            words=Cat(
                ~((part == LINE) & (n < word))
                | (dut.write.data.word_select(n, STREAM_BITS) == begun.word_select(n, STREAM_BITS))
                for n in range(most)
            ).all(),
            held=Cat(
                ~(wrote & (n < line_words))
                | (dut.write.data.word_select(n, STREAM_BITS) == complete.word_select(n, STREAM_BITS))
                for n in range(most)
            ).all(),
            write=dut.write_valid == wrote,
            address=~((part == LINE) | wrote) | (address == number),
            inside=~wrote | (address < depth),
            error=(dut.loading.error_valid == (taken & (code != 0)))
            & (~dut.loading.error_valid | (dut.loading.error == code)),
            finished=dut.loading.finished == ends,
            flags=(dut.loading.has_program == program)
            & (dut.loading.has_input == given)
            & (dut.loading.touched == touched),
        )


PROPERTIES: tuple[type[Checker], ...] = (LoaderFrames,)

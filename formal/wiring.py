"""The top level connects components and memories as docs/machine.md says; the components themselves are left out."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from amaranth import Cat, Const, Instance, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring

from twofold.formal.builds import SMALL
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.formal.memories import Memory
from twofold.golden import isa
from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import SECTION_HEADER, Section
from twofold.hdl import top


class _Hollow(wiring.Component):
    """A component without its contents: in their place a module whose ports have the component's names."""

    def __init__(self, name: str, part: wiring.Component) -> None:
        # A part may be asked for its ports alone.
        self._MustUse__silence = part._MustUse__silence = True
        self.box = f"box_{name}"
        super().__init__(part.signature)

    def ports(self) -> Iterator[tuple[str, wiring.Member, Value]]:
        """Name, direction and signal of every port."""
        for path, member, value in self.signature.flatten(self):
            yield "__".join(map(str, path)), member, Value.cast(value)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ports = {f"{_letter(member)}_{name}": value for name, member, value in self.ports()}
        m.submodules.box = Instance(self.box, **ports)
        return m

    def verilog(self) -> str:
        """The module in the place of the contents: ports and nothing in it."""
        kinds = {"i": "input", "o": "output"}
        header = (f"{kinds[_letter(member)]} [{len(value) - 1}:0] {name}" for name, member, value in self.ports())
        # A module that holds nothing at all would be left unread.
        return f"\nmodule {self.box}({', '.join(header)});\n  wire held = 1'b0;\nendmodule\n"


def _letter(member: wiring.Member) -> str:
    return "i" if member.flow is wiring.In else "o"


def unstated(parts: Mapping[str, _Hollow], stated: Collection[tuple[str, str]]) -> list[str]:
    """Inputs, as ``part.port``, of which nothing is known: not stated, and there is not one output of that name."""
    given = Counter(port for part in parts.values() for port, member, _ in part.ports() if member.flow is wiring.Out)
    taken = [(name, port) for name, part in parts.items() for port, member, _ in part.ports() if _letter(member) == "i"]
    return [f"{name}.{port}" for name, port in taken if given[port] + ((name, port) in stated) != 1]


def _hollow(config: ArrayConfig) -> Any:
    """The machine with hollow parts."""
    machine: Any = top.Twofold

    class Hollow(machine):
        def parts(self) -> Any:
            parts = super().parts()
            return type(parts)(*(_Hollow(*item) for item in parts._asdict().items()))

    return Hollow(config)


class MachineWiring(Checker):
    """Every input of every component and memory is, in every cycle, what it should be of their outputs and the host's.

    Components give anything. What one gives, those get that have an input of that name; the few inputs that are made
    of several things are stated one by one, and an input of which nothing is known is an error.
    A memory gives what it holds where it is read, a cycle later, weights another one later;
    of one line of each, any of them, it is checked that it changes when and to what it should.
    """

    name = "machine: components and memories are connected as specified"
    component = "machine"
    short = ("subset_4x4",)
    cut_memories = True
    depth = 2
    fault_depth = 3
    fault_build = SMALL
    faults = (
        Fault("top", "~sequencer.inference.busy & ~control.inference.run", "~sequencer.inference.busy", "loader"),
        Fault(
            "top",
            "connect(m, requantiser.accumulators, compute.accumulators)",
            "m.d.comb += compute.accumulators.position.eq(requantiser.accumulators.position)",
            "compute",
        ),
        Fault("top", "connect(m, sequencer.drain, requantiser.drain)", "", "requantiser"),
        Fault("top", "sequencer.sent.eq(sender.sent)", "sequencer.sent.eq(requantiser.drain.idle)", "sequencer"),
        Fault("top", "decoder.codes.eq(weight_codes)", "decoder.codes.eq(weights.line)", "decoder"),
        Fault(
            "top",
            "Mux(sender.send.ready, requantiser.feature.address, sender.feature.address)",
            "requantiser.feature.address",
            "feature_other",
        ),
        Fault("top", "Mux(input_valid, ~0, requantiser.feature.enable)", "requantiser.feature.enable", "feature_line"),
        Fault("top", "requantiser.feature.read | ~sender.send.ready", "requantiser.feature.read", "sender"),
        Fault("top", "(writes.write.kind == section)", "(writes.write.kind == Section.PROGRAM)", "weight_line"),
    )

    @classmethod
    def make(cls, config: ArrayConfig) -> wiring.Component:
        """The machine with hollow parts."""
        made: wiring.Component = _hollow(config)
        return made

    @classmethod
    def more_verilog(cls, config: ArrayConfig) -> str:
        """The hollow parts' contents."""
        return "".join(part.verilog() for part in cls._parts(config).values())

    @classmethod
    def _parts(cls, config: ArrayConfig) -> dict[str, _Hollow]:
        machine = _hollow(config)
        machine._MustUse__silence = True
        parts: dict[str, _Hollow] = machine.parts()._asdict()
        return parts

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        #: What each part gives and takes, by the ports' names.
        self.gives: dict[str, dict[str, Signal]] = {}
        self.takes: dict[str, dict[str, Signal]] = {}
        parts = self._parts(config)
        for name, part in parts.items():
            self.gives[name], self.takes[name] = {}, {}
            for port, member, value in part.ports():
                side = self.takes if member.flow is wiring.In else self.gives
                side[name][port] = self.peek(f"{name}.box.{port}", len(value))
        given = {port: value for ports in self.gives.values() for port, value in ports.items()}
        made, late = self._made(), self._late(m)
        unknown = unstated(parts, made.keys() | late.keys())
        if unknown:
            raise ValueError(f"Inputs must be stated or what one output of their name gives, not {', '.join(unknown)}")
        for name, ports in self.takes.items():
            equal = []
            for port, signal in ports.items():
                place = name, port
                known, wanted = late.get(place) or (Const(1), made[place] if place in made else given[port])
                equal.append(~known | (signal == wanted[: len(signal)]))
            self.require((), **{name: Cat(equal).all()})
        outputs = [getattr(dut, name) == value for name, value in self._outputs_to_the_host().items()]
        self.require((), host=Cat(outputs).all())

    def _late(self, m: Module) -> dict[tuple[str, str], tuple[Value, Value]]:
        """Inputs that come from memories: since when they are known, and what they are."""
        read = self._memories(m)
        codes = self.past(m, read[Section.WEIGHT], "codes")
        registered = Signal()
        m.d.sync += registered.eq(self.running)
        lines = {f"{section.name.lower()}__line": line for section, line in read.items()}
        memories = {
            (name, port): (self.running, lines[port])
            for name, ports in self.takes.items()
            for port in ports
            if port in lines
        }
        others = dict.fromkeys((("requantiser", "feature__line"), ("sender", "feature__line")), self.other)
        return {("decoder", "codes"): (registered, codes)} | memories | others

    def _made(self) -> dict[tuple[str, str], Value]:
        """Inputs that are not another part's output of the same name."""
        dut, loader = self.dut, self.gives["loader"]
        kind, address, line = self._write()
        points = Cat(address[: bits_for(isa.line_count(self.config, Section.POINTS))], line)
        entries = {"enable": loader["write_valid"] & (kind == Section.TABLES), "address": address, "data": line}
        tables = {("requantiser", f"entries__{port}"): value for port, value in entries.items()}
        host = {("control", port): self._host(port) for port in self.takes["control"] if port.startswith("axi__")}
        return {
            **host,
            **(tables if self.config.tables else {}),
            ("loader", "i__payload"): Cat(dut.s_axis_tdata, dut.s_axis_tlast),
            ("loader", "i__valid"): dut.s_axis_tvalid,
            ("loader", "enable"): ~self.gives["sequencer"]["inference__busy"]
            & ~self.gives["control"]["inference__run"],
            ("decoder", "table__payload"): points,
            ("decoder", "table__valid"): loader["write_valid"] & (kind == Section.POINTS),
            ("sender", "o__ready"): dut.m_axis_tready,
        }

    def _outputs_to_the_host(self) -> dict[str, Value]:
        control, sender = self.gives["control"], self.gives["sender"]
        payload = sender["o__payload"]
        return {
            **{f"s_axil_{port.removeprefix('axi__')}": value for port, value in control.items() if port[:5] == "axi__"},
            "s_axis_tready": self.gives["loader"]["i__ready"],
            "m_axis_tdata": payload[: isa.STREAM_BITS],
            "m_axis_tlast": payload[isa.STREAM_BITS],
            "m_axis_tvalid": sender["o__valid"],
        }

    def _write(self) -> tuple[Value, Value, Value]:
        """Kind, address and line of what the loader writes."""
        write, bits = self.gives["loader"]["write"], SECTION_HEADER.widths
        return write[: bits["kind"]], write[bits["kind"] : SECTION_HEADER.width], write[SECTION_HEADER.width :]

    def _memories(self, m: Module) -> dict[Section, Value]:
        """Requires who asks each memory and what is written to it; returns what was read a cycle before."""
        config, filled = self.config, self.gives["loader"]["write_valid"]
        sequencer, requantiser = self.gives["sequencer"], self.gives["requantiser"]
        kind, address, line = self._write()
        all_bits = Const(-1, signed(len(line)))
        asked = {
            Section.PROGRAM: sequencer["program__address"],
            Section.WEIGHT: sequencer["weight_address"],
            Section.CHANNEL: requantiser["channel__address"],
            Section.FEATURE: self.gives["compute"]["feature__address"],
        }
        read = {}
        for section, wanted in asked.items():
            given = filled & (kind == section)
            writes = [(given, address, line, all_bits)]
            if section is Section.FEATURE:
                lanes = Cat(enable.replicate(config.act_bits) for enable in requantiser["feature__enable"])
                writes.append((~given, self._other_address(), requantiser["feature__data"], lanes))
                memory = self._memory(section, writers=config.rows, readers=2)
                self.other = self._other(m, memory, Mux(given, address, self._other_address()))
            else:
                memory = self._memory(section, writers=1)
            read[section] = self._follow(m, section, memory, writes)
            self.require((), **{section.name.lower(): memory.address == wanted})
        return read

    def _host(self, port: str) -> Value:
        return Value.cast(getattr(self.dut, f"s_axil_{port.removeprefix('axi__')}"))

    def _other_address(self) -> Value:
        """Line of the port of feature memory that is not the array's, but for what the loader writes."""
        sender, requantiser = self.gives["sender"], self.gives["requantiser"]
        return Mux(sender["send__ready"], requantiser["feature__address"], sender["feature__address"])

    def _other(self, m: Module, memory: Memory, address: Value) -> tuple[Value, Value]:
        """Since when it is known what that port read last, and the line: it stands until the next is read."""
        line, known = Signal.like(memory.lines[1], name="other_line", reset_less=True), Signal(name="other_known")
        with m.If(self.gives["requantiser"]["feature__read"] | ~self.gives["sender"]["send__ready"]):
            m.d.sync += [line.eq(memory.lines[1]), known.eq(1)]
        self.require((), feature_other=memory.addresses[1] == address[: len(memory.addresses[1])])
        return known, line

    def _memory(self, section: Section, *, writers: int, readers: int = 1) -> Memory:
        size = {"address_bits": bits_for(isa.line_count(self.config, section))}
        bits = isa.line_bits(self.config, section)
        return Memory(self, f"{section.name.lower()}_memory", **size, bits=bits, writers=writers, readers=readers)

    def _follow(self, m: Module, section: Section, memory: Memory, writes: Iterable[tuple[Value, ...]]) -> Value:
        """Requires that any line of a memory changes by these writes alone; returns what was read a cycle before.

        A write is its condition, address, data and a mask of the bits that it changes.
        """
        name = section.name.lower()
        position = self.inputs[f"free_{name}"] = Signal.like(memory.address, name=f"free_{name}")
        line = self.inputs[f"free_{name}_line"] = Signal.like(memory.line, name=f"free_{name}_line")
        wanted = Value.cast(line)
        for condition, address, data, mask in writes:
            here = condition & (address[: len(position)] == position)
            mask = mask & here.replicate(len(line))
            wanted = (wanted & ~mask) | (data[: len(line)] & mask)
        self.require((), **{f"{name}_line": memory.after(position, line) == wanted})
        return self.past(m, memory.line, f"{name}_read")


PROPERTIES: tuple[type[Checker], ...] = (MachineWiring,)

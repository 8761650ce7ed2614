"""The top level connects components and memories as docs/machine.md says; the components themselves are left out."""

from collections.abc import Iterable
from typing import Any
from unittest import mock

from amaranth import Cat, Const, Instance, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring

from twofold.formal.builds import SMALL
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.formal.memories import Memory
from twofold.golden import isa
from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import Section
from twofold.hdl import emit
from twofold.hdl.control import AXI_LITE

#: The parts of the machine, by their names in it.
PARTS = ("control", "loader", "sequencer", "decoder", "compute", "requantiser", "sender")
#: The memories that the loader fills, with who reads them.
READERS = {
    Section.PROGRAM: ("sequencer", "program_address"),
    Section.WEIGHT: ("sequencer", "weight_address"),
    Section.CHANNEL: ("requantiser", "channel_address"),
}


#: Name of the module in the place of a part's contents.
_BOX = "box_{}"


def _ports(config: ArrayConfig, name: str) -> list[tuple[str, wiring.Member, int]]:
    """Ports of a part: name, member and width."""
    made: Any = emit.COMPONENTS[name](config)
    made._MustUse__silence = True
    flat = made.signature.flatten(made)
    return [("__".join(map(str, path)), member, len(Value.cast(value))) for path, member, value in flat]


def _hollow(name: str, made: type[wiring.Component]) -> type[wiring.Component]:
    """The component without its contents: in their place a module whose ports have the component's names."""

    def elaborate(self: wiring.Component, platform: object) -> Module:
        m = Module()
        ports: dict[str, Any] = {}
        for path, member, value in self.signature.flatten(self):
            ports[f"{'i' if member.flow is wiring.In else 'o'}_{'__'.join(map(str, path))}"] = value
        m.submodules.box = Instance(_BOX.format(name), **ports)
        return m

    return type(made.__name__, (made,), {"elaborate": elaborate})


class MachineWiring(Checker):
    """Every input of every component and memory is, in every cycle, what it should be of their outputs and the host's.

    Components give anything. A memory gives what it holds where it is read, a cycle later, weights another one later;
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
        Fault("top", "loader.enable.eq(~sequencer.busy & ~control.run)", "loader.enable.eq(~sequencer.busy)", "loader"),
        Fault(
            "top",
            "requantiser.bank.eq(sequencer.drain_bank)",
            "requantiser.bank.eq(~sequencer.drain_bank)",
            "requantiser",
        ),
        Fault("top", "sequencer.drain_idle.eq(requantiser.idle)", "sequencer.drain_idle.eq(sender.sent)", "sequencer"),
        Fault("top", "decoder.codes.eq(column)", "decoder.codes.eq(weights)", "decoder"),
        Fault(
            "top",
            "Mux(sender.send.ready, compute.feature_address, sender.address)",
            "compute.feature_address",
            "feature",
        ),
        Fault("top", "Mux(input_valid, ~0, requantiser.write_enable)", "requantiser.write_enable", "feature_line"),
        Fault("top", "(loader.write.kind == section)", "(loader.write.kind == Section.PROGRAM)", "weight_line"),
    )

    @classmethod
    def make(cls, config: ArrayConfig) -> wiring.Component:
        """The machine with hollow parts."""
        machine: Any = emit.Twofold
        parts = {}
        for name in PARTS:
            part: Any = emit.COMPONENTS[name]
            parts[part.__name__] = _hollow(name, part)

        def elaborate(self: wiring.Component, platform: object) -> Module:
            with mock.patch.dict(machine.elaborate.__globals__, parts):
                return machine.elaborate(self, platform)

        return type("Twofold", (machine,), {"elaborate": elaborate})(config)

    @classmethod
    def more_verilog(cls, config: ArrayConfig) -> str:
        """The hollow parts: modules with ports and nothing in them."""
        text = ""
        for name in PARTS:
            ports = _ports(config, name)
            kinds = (
                f"{'input' if member.flow is wiring.In else 'output'} [{bits - 1}:0] " for _, member, bits in ports
            )
            header = ", ".join(kind + port for kind, (port, *_) in zip(kinds, ports, strict=True))
            # A module that holds nothing at all would be left unread.
            text += f"\nmodule {_BOX.format(name)}({header});\n  wire held = 1'b0;\nendmodule\n"
        return text

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        flat = {name: _ports(config, name) for name in PARTS}
        self.parts = {
            name: {port: self.peek(f"{name}.box.{port}", bits) for port, _, bits in ports}
            for name, ports in flat.items()
        }
        takes = {name: {port for port, member, _ in ports if member.flow is wiring.In} for name, ports in flat.items()}
        loader, sequencer = self.parts["loader"], self.parts["sequencer"]
        requantiser, sender, compute = self.parts["requantiser"], self.parts["sender"], self.parts["compute"]
        write = loader["write"]
        kind_bits, count_bits = isa.SECTION_FIELDS["kind"], isa.SECTION_FIELDS["count"]
        kind, address = write[:kind_bits], write[kind_bits : kind_bits + count_bits]
        line = write[kind_bits + count_bits :]
        filled = loader["write_valid"]
        all_bits = Const(-1, signed(len(line)))

        read = {}
        for section, (reader, port) in READERS.items():
            memory = self._memory(section, writers=1)
            loaded = filled & (kind == section)
            read[section] = self._follow(m, section, memory, [(loaded, address, line, all_bits)])
            self.require((), **{section.name.lower(): memory.address == self.parts[reader][port]})
        feature = self._memory(Section.FEATURE, writers=config.rows)
        lanes = Cat(enable.replicate(config.act_bits) for enable in requantiser["write_enable"])
        given = filled & (kind == Section.FEATURE)
        written = (~given, requantiser["write_address"], requantiser["write_data"], lanes)
        read[Section.FEATURE] = self._follow(m, Section.FEATURE, feature, [(given, address, line, all_bits), written])
        reader = Mux(sender["send__ready"], compute["feature_address"], sender["address"])
        self.require((), feature=feature.address == reader)

        codes = self.past(m, read[Section.WEIGHT], "codes")
        registered = Signal()
        m.d.sync += registered.eq(self.running)
        points = Cat(address[: bits_for(isa.line_count(config, Section.POINTS))], line)
        inputs: dict[str, dict[str, Value]] = {
            "control": {
                **{
                    f"axi__{name}": self._host(name)
                    for name, member in AXI_LITE.members.items()
                    if member.flow is wiring.In
                },
                **self._from("loader", "between finished has_program has_input touched error error_valid"),
                **self._from("sequencer", "busy complete failed cycles passes"),
            },
            "loader": {
                "i__payload": Cat(dut.s_axis_tdata, dut.s_axis_tlast),
                "i__valid": dut.s_axis_tvalid,
                "enable": ~sequencer["busy"] & ~self.parts["control"]["run"],
            },
            "sequencer": {
                "run": self.parts["control"]["run"],
                "program_data": read[Section.PROGRAM],
                "start__ready": compute["start__ready"],
                "drain_idle": requantiser["idle"],
                "send__ready": sender["send__ready"],
                "sent": sender["sent"],
            },
            "decoder": {
                "table__payload": points,
                "table__valid": filled & (kind == Section.POINTS),
                "set": sequencer["set"],
                "codes": codes,
            },
            "compute": {
                **self._from("sequencer", "start__payload start__valid load"),
                **self._from("decoder", "words"),
                "feature_data": read[Section.FEATURE],
                **self._from("requantiser", "read_bank read_position"),
            },
            "requantiser": {
                **self._from("sequencer", "drain width height"),
                "start": sequencer["drain_start"],
                "bank": sequencer["drain_bank"],
                **self._from("compute", "read_data"),
                "channel_data": read[Section.CHANNEL],
            },
            "sender": {
                **self._from("sequencer", "send__payload send__valid"),
                "line": read[Section.FEATURE],
                "o__ready": dut.m_axis_tready,
            },
        }
        late = {"program_data", "feature_data", "channel_data", "line", "codes"}
        for name, wanted in inputs.items():
            ports = self.parts[name]
            if set(wanted) != takes[name]:
                raise ValueError(f"Inputs of {name} must be {sorted(takes[name])}, not {sorted(wanted)}")
            equal = []
            for port, value in wanted.items():
                same = ports[port] == value[: len(ports[port])]
                unknown = ~registered if port == "codes" else ~self.running
                equal.append(unknown | same if port in late else same)
            self.require((), **{name: Cat(equal).all()})
        outputs = [
            getattr(dut, f"s_axil_{n}") == self.parts["control"][f"axi__{n}"]
            for n in AXI_LITE.members
            if AXI_LITE.members[n].flow is wiring.Out
        ]
        outputs += [
            dut.s_axis_tready == loader["i__ready"],
            Cat(dut.m_axis_tdata, dut.m_axis_tlast) == sender["o__payload"],
            dut.m_axis_tvalid == sender["o__valid"],
        ]
        self.require((), host=Cat(outputs).all())

    def _host(self, name: str) -> Value:
        return Value.cast(getattr(self.dut, f"s_axil_{name}"))

    def _from(self, part: str, names: str) -> dict[str, Value]:
        return {name: self.parts[part][name] for name in names.split()}

    def _memory(self, section: Section, *, writers: int) -> Memory:
        size = {"address_bits": bits_for(isa.line_count(self.config, section))}
        bits = isa.line_bits(self.config, section)
        return Memory(self, f"{section.name.lower()}_memory", **size, bits=bits, writers=writers)

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

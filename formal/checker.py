"""A component's emitted Verilog, what is assumed of its inputs, and what must then hold in every cycle."""

from collections.abc import Iterable
from typing import Any, ClassVar

from amaranth import ClockSignal, Elaboratable, Instance, Module, Mux, ResetSignal, Signal, Value
from amaranth.back import rtlil
from amaranth.lib import wiring

from twofold.formal.faults import Fault
from twofold.formal.solver import INSTANCE, TOP
from twofold.golden.config import ArrayConfig
from twofold.hdl import emit
from twofold.hdl.rtlil import uncollected


class Emitted:
    """The ports of an emitted component, by the names that the component gives them.

    Parameters
    ----------
    component
        An instance of the component, for its ports.
    module
        Name of its Verilog module.
    """

    def __init__(self, component: wiring.Component, module: str) -> None:
        wires = wiring.PureInterface(component.signature, path=(INSTANCE,))
        self.__dict__.update({name: getattr(wires, name) for name in component.signature.members})
        self.inputs: dict[str, Value] = {}
        ports: dict[str, Value] = {}
        for path, member, value in component.signature.flatten(wires):
            name = "__".join(map(str, path))
            ports[f"{'i' if member.flow is wiring.In else 'o'}_{name}"] = value
            if member.flow is wiring.In:
                self.inputs[name] = Value.cast(value)
        self._module, self._ports = module, ports

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"Component must have a port {name!r}")

    def instance(self, *, clocked: bool) -> Instance:
        """The component; what is combinational has no clock."""
        clock = {"i_clk": ClockSignal(), "i_rst": ResetSignal()} if clocked else {}
        return Instance(self._module, **clock, **self._ports)


class Checker(Elaboratable):
    """Base of all checkers: a subclass's `specify` says what is assumed and what must hold.

    Every input of the component is free in every cycle, the reset included. The proof begins with one cycle of
    reset in a state where every register holds anything.

    Parameters
    ----------
    config
        The build.
    dut
        The component.

    Attributes
    ----------
    running
        0 in the first cycle after a reset, then 1: the cycle before was no reset.
    """

    #: Name of the property.
    name: str
    #: Name of the component, as in `hdl.emit.COMPONENTS`.
    component: str
    #: Whether the component has a register.
    clocked = True
    #: Builds to prove it for: those of `configs/` and one with tables, or one of every weight format, or those with a
    #: memory outside.
    builds = "shipped"
    #: Builds for which it is proven by a check of every change, too; empty where the proof is long.
    short: tuple[str, ...] = ()
    #: Whether memories inside give anything: `specify` sees what is written and assumes what is read.
    cut_memories = False
    #: Cycles of the induction.
    depth = 1
    #: Faults that the proof must catch, in at most that many cycles from reset.
    faults: tuple[Fault, ...]
    fault_depth = 6
    #: What the build is made smaller by, so that a fault shows in that time.
    fault_build: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: ArrayConfig, dut: Emitted) -> None:
        self.config = config
        self.dut = dut
        self.running = Signal()
        #: Signals inside the component that the checker reads, by their names there.
        self.peeks: dict[str, Signal] = {}
        #: Further free inputs, by name.
        self.inputs: dict[str, Signal] = {}
        #: Requirements whose proof may use some of the others only.
        self.needs: dict[str, tuple[str, ...]] = {}
        self._assumed: list[Value] = []
        self._required: dict[str, Value] = {}
        self._outputs: dict[str, Signal] = {}

    @classmethod
    def applies(cls, config: ArrayConfig) -> bool:
        """Whether the build has what the property is about."""
        return config.external or cls.builds != "outside"

    @classmethod
    def make(cls, config: ArrayConfig) -> wiring.Component:
        """The component."""
        return emit.COMPONENTS[cls.component](config)

    @classmethod
    def more_verilog(cls, config: ArrayConfig) -> str:
        """Modules that the component's Verilog needs besides."""
        return ""

    def specify(self, m: Module) -> None:
        """Call `assume` and `require`."""
        raise NotImplementedError

    def assume(self, condition: Value) -> None:
        """The environment keeps this in every cycle."""
        self._assumed.append(condition)

    def require(self, needs: Iterable[str] | None = None, **conditions: Value) -> None:
        """These must hold in every cycle.

        Parameters
        ----------
        needs
            Requirements that the proof may use, by default all: every one of them of the cycles before, and those
            stated earlier than this one also of the same cycle. Fewer make a hard proof quick.
        """
        for name, condition in conditions.items():
            assert name not in self._required, name
            self._required[name] = condition
            if needs is not None:
                self.needs[name] = tuple(needs)

    def peek(self, name: str, shape: object = 1) -> Signal:
        """A signal inside the component, for an invariant."""
        self.peeks[name] = Signal(shape, name=f"peek_{len(self.peeks)}")
        return self.peeks[name]

    def constant(self, m: Module, name: str, shape: object) -> Signal:
        """Any value, chosen in reset and kept: what is proven of it is proven of every value."""
        chosen = self.inputs[f"free_{name}"] = Signal(shape, name=f"free_{name}")
        kept = Signal(shape, name=name, reset_less=True)
        with m.If(ResetSignal()):
            m.d.sync += kept.eq(chosen)
        return kept

    def past(self, m: Module, value: Value, name: str) -> Signal:
        """The value of the cycle before; means something while `running`."""
        before = Signal(Value.cast(value).shape(), name=f"past_{name}", reset_less=True)
        m.d.sync += before.eq(value)
        return before

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules[INSTANCE] = self.dut.instance(clocked=self.clocked)
        m.d.sync += self.running.eq(1)
        self.specify(m)
        started = Signal(name="started", reset_less=True)
        m.d.sync += started.eq(1)
        self._outputs = {name: Signal(name=name) for name in ("ok", "legal", "never")} | {"started": started}
        flags = []
        for name, condition in self._required.items():
            flag = self._outputs[f"require_{name}"] = Signal(name=f"require_{name}")
            m.d.comb += flag.eq(~started | condition)
            flags.append(flag)
        m.d.comb += [
            self._outputs["legal"].eq(Mux(started, _all(self._assumed), ResetSignal())),
            self._outputs["ok"].eq(_all(flags)),
        ]
        return m

    @property
    def requirements(self) -> tuple[str, ...]:
        """Names of what must hold."""
        return tuple(self._required)

    def rtlil(self) -> str:
        """The checker as Yosys reads it."""
        self._MustUse__silence = True
        m = self.elaborate(None)
        ports = {
            **{f"{INSTANCE}__{name}": value for name, value in self.dut.inputs.items()},
            **{signal.name: signal for signal in self.peeks.values()},
            **self.inputs,
            **self._outputs,
        }
        with uncollected():
            return rtlil.convert(m, name=TOP, ports={port: (v, None) for port, v in ports.items()}, emit_src=False)


def _all(conditions: list[Value]) -> Value:
    total = Value.cast(1)
    for condition in conditions:
        total = total & Value.cast(condition).bool()
    return total

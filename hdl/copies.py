"""Equal components side by side: in RTLIL they are instances of one module, which is elaborated once."""

from collections.abc import Callable

from amaranth import ClockSignal, Elaboratable, Instance, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from twofold.hdl.rtlil import Modules


class Copy(wiring.Component):
    """One of several equal components, with the same members.

    Parameters
    ----------
    name
        What its module is called.
    original
        The first of them.
    make
        Makes another one, for Amaranth's simulator, which knows no instances.
    """

    def __init__(self, name: str, original: wiring.Component, make: Callable[[], wiring.Component]):
        self.name, self.original, self._make = name, original, make
        super().__init__(original.signature)

    def elaborate(self, platform: object) -> Elaboratable | Instance:
        if not isinstance(platform, Modules):
            m = Module()
            m.submodules.one = one = self._make()
            connect(m, flipped(self), one)
            return m
        module, clocked = platform.made(self.original, self.name)
        clock = {"i_clk": ClockSignal(), "i_rst": ResetSignal()} if clocked else {}
        ports = {
            f"{'i' if member.flow is wiring.In else 'o'}_{'__'.join(map(str, path))}": value
            for path, member, value in self.signature.flatten(self)
        }
        return Instance(module, **clock, **ports)


def copies(name: str, make: Callable[[], wiring.Component], count: int) -> list[Copy]:
    """Equal components, all as `make` makes them; `name` is what their module is called."""
    original = make()
    return [Copy(name, original, make if n else lambda: original) for n in range(count)]

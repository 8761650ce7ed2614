"""RTLIL of a component, without the initial zeros of its memories.

Amaranth writes every bit of them: three quarters of the time that a machine takes.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import _ir
from amaranth.lib import wiring


class _ModuleEmitter(rtlil.ModuleEmitter):
    def emit_memory(self, cell_idx: int, cell: Any) -> None:
        if any(cell.init):
            super().emit_memory(cell_idx, cell)


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it, Python looks for no cycles: Amaranth makes so many objects that this took a quarter of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Modules:
    """RTLIL of a component; what it is made of several times (`hdl.copies`) is elaborated once.

    Components see it as the platform that they are elaborated for.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._made: dict[int, tuple[wiring.Component, str, bool]] = {}

    def made(self, component: wiring.Component, name: str) -> tuple[str, bool]:
        """The name of a component's module, which ends with the one given, and whether it has a clock."""
        if id(component) not in self._made:
            module = f"$copies{len(self._made)}.{name}"
            self._made[id(component)] = component, module, self.add(component, module, top=False)
        return self._made[id(component)][1:]

    def add(self, component: wiring.Component, name: str, *, top: bool) -> bool:
        """Convert a component and what it holds; whether it has a clock."""
        ports = {}
        for path, member, value in component.signature.flatten(component):
            direction = _ir.PortDirection.Input if member.flow is wiring.In else _ir.PortDirection.Output
            ports["__".join(map(str, path))] = (value.as_value() if hasattr(value, "as_value") else value, direction)
        netlist = _ir.build_netlist(_ir.Fragment.get(component, self), ports=ports, name=name)
        empty, builder = rtlil.EmptyModuleChecker(netlist), rtlil.Design(emit_src=False)
        names: Any = rtlil._ast.SignalDict()
        for number, module in enumerate(netlist.modules):
            if empty.is_empty(number):
                continue
            made = builder.module(".".join(module.name), src_loc=module.src_loc)
            if number == 0 and top:
                made.attribute("top", 1)
            _ModuleEmitter(made, netlist, module, names, empty_checker=empty).emit()
        self.texts.append(str(builder))
        return "clk" in netlist.top.ports_i


@uncollected()
def convert(component: wiring.Component, name: str) -> str:
    """As `amaranth.back.rtlil.convert` without source locations; a memory of zeros begins with whatever it holds."""
    modules = Modules()
    modules.add(component, name, top=True)
    return "".join(reversed(modules.texts))

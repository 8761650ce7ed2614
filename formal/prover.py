"""What is proven: a component, faulty if there is a fault, and a checker around it, as text."""

import re

from twofold.formal.checker import Checker, Emitted
from twofold.formal.faults import Fault, seeded
from twofold.formal.solver import Task
from twofold.golden.config import ArrayConfig
from twofold.hdl.emit import emit_verilog
from twofold.hdl.rtlil import convert

_CHECKED: dict[tuple[type[Checker], ArrayConfig], tuple[Checker, str]] = {}


def prepare(checker: type[Checker], config: ArrayConfig, fault: Fault | None = None, *, emitted: bool = True) -> Task:
    """Emit a component, faulty if there is a fault, and a checker around it.

    With `emitted` False the component is left in RTLIL, which is quicker to make and equal where the Verilog is.
    """
    module = f"twofold_{checker.component}"
    with seeded(fault):
        made = checker.make(config)
        check, checks = _checked(checker, config, Emitted(made, module))
        if not emitted:
            return Task(convert(made, module), checks, (), {})
        text = emit_verilog(made, module)
    peeks = tuple(
        (signal.name, _found(inner, len(signal), module, text) if "$" in inner else inner)
        for inner, signal in check.peeks.items()
    )
    requirements = {}
    names = check.requirements
    for number, name in enumerate(names):
        used = check.needs.get(name, names)
        requirements[name] = (tuple(dict.fromkeys((*used, name))), tuple(n for n in names[:number] if n in used))
    verilog = text[text.index("\nmodule ") :] + checker.more_verilog(config)
    return Task(verilog, checks, peeks, requirements, checker.cut_memories)


def _checked(checker: type[Checker], config: ArrayConfig, dut: Emitted) -> tuple[Checker, str]:
    """The checker and its RTLIL; of the last build it is kept, since faults leave a component's ports as they are."""
    if (checker, config) not in _CHECKED:
        _CHECKED.clear()
        check = checker(config, dut)
        _CHECKED[checker, config] = check, check.rtlil()
    return _CHECKED[checker, config]


def _found(name: str, bits: int, module: str, text: str) -> str:
    """The name in Verilog of a component's register, or of a port of an instance in it, by ``instance.name``.

    Amaranth numbers names that are taken; ``name$`` stands for one that is.
    """
    found: list[str] = []
    for part in name.split("."):
        body = text[text.index(f"\nmodule {module}(") :].partition("\nendmodule")[0]
        if len(found) < name.count("."):
            kind, match = "Instance", r"^  (\S+) {0} \($"
        else:
            size = rf"\[{bits - 1}:0\] " if bits > 1 else ""
            kind, match = f"Register of {bits} bits", rf"^  ({'input|output' if found else 'reg'}) {size}{{0}}[ ;]"
        numbered = rf"\\({re.escape(part)}\d+) " if part.endswith("$") else rf"\\?({re.escape(part)})"
        places = set(re.findall(match.format(numbered), body, re.MULTILINE))
        if len({place[1] for place in places}) != 1:
            raise ValueError(f"{kind} {part!r} must be in {module} once, not {sorted(places)!r}")
        ((module, inner), *_) = sorted(places)
        found.append(inner)
    return ".".join(found)

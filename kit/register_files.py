"""The registers for tools: SystemRDL 2.0, and CSV in LiteX's form."""

from collections.abc import Iterator

from twofold.golden.config import ArrayConfig
from twofold.golden.fields import Record
from twofold.golden.registers import Error, Register, register_fields, registers
from twofold.hdl.emit import top_name
from twofold.kit.headers import VALUES, constants


def system_rdl(config: ArrayConfig) -> str:
    """The address map in SystemRDL."""
    return "\n".join(_rdl(config)) + "\n"


def litex_csv(config: ArrayConfig) -> str:
    """Registers and constants as LiteX's ``csr.csv`` has them; addresses are from the machine's own 0 on."""
    name = top_name(config)
    lines = [f"csr_base,{name},0x00000000,,"]
    for register, facts in registers(config).items():
        access = "rw" if facts.writable else "ro"
        lines.append(f"csr_register,{name}_{register.lower()},0x{facts.address:08x},1,{access}")
    lines += [
        f"constant,{name}_{key.lower()},{value},,"
        for key, value in constants(config).items()
        if not key.startswith("REG_")
    ]
    return "\n".join(lines) + "\n"


def _rdl(config: ArrayConfig) -> Iterator[str]:
    values = constants(config)
    shape = values["ROWS"] << values["SHAPE_ROWS_SHIFT"] | values["COLS"] << values["SHAPE_COLS_SHIFT"]
    constant = {name: values[f"{name}_VALUE"] for name in VALUES} | {"SHAPE": shape}
    yield f"// Twofold build {config.name}. Generated; do not edit."
    yield "enum twofold_error {"
    for error in Error:
        yield f'  {error.name} = 8\'d{error.value} {{ desc = "{error.meaning}"; }};'
    yield "};"
    yield ""
    yield f"addrmap {top_name(config)} {{"
    yield f'  name = "Twofold build {config.name}";'
    yield "  default regwidth = 32;"
    yield "  default accesswidth = 32;"
    records = register_fields(config)
    for name, register in registers(config).items():
        yield ""
        yield "  reg {"
        yield f'    desc = "{register.meaning}";'
        for field, low, width in _fields(records.get(name)):
            start = constant[name] >> low & (1 << width) - 1 if name in constant else 0 if register.writable else None
            reset = "" if start is None else f" = {width}'h{start:X}"
            yield f"    field {{ {_access(name, register, field)} }} {field}[{low + width - 1}:{low}]{reset};"
        yield f"  }} {name} @ 0x{register.address:02X};"
    yield "};"


def _fields(record: Record | None) -> Iterator[tuple[str, int, int]]:
    """Name, lowest bit and width of each field; of a register of one number, that."""
    if record is None:
        yield "value", 0, 32
        return
    for name, low in record.places.items():
        if name != "reserved":
            yield name, low, record[name].width


def _access(name: str, register: Register, field: str) -> str:
    """Properties of a field: what software may do, and what hardware does."""
    if not register.readable:
        return "sw = w; hw = r; singlepulse;"
    if register.writable:
        return "sw = rw; hw = r;"
    fixed = name in (*VALUES, "SHAPE")
    kind = " encode = twofold_error;" if (name, field) == ("STATUS", "error") else ""
    return f"sw = r; hw = {'na' if fixed else 'w'};{kind}"

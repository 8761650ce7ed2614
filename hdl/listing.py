"""What a build offers: its ports, registers, memories and instructions, as data and as a page."""

from dataclasses import asdict
from typing import Any

from amaranth import Shape
from amaranth.lib import wiring

from twofold.golden import isa
from twofold.golden.config import MACHINE_VERSION, ArrayConfig
from twofold.golden.isa import Channel, Section, instructions
from twofold.golden.registers import registers
from twofold.hdl.emit import top_name
from twofold.hdl.top import ports as machine_ports


def listing(config: ArrayConfig) -> dict[str, Any]:
    """Ports, registers, memories and instruction fields of a build, as JSON can hold them."""
    ports = [{"name": name, "direction": "input", "bits": 1} for name in ("clk", "rst")]
    for name, member in machine_ports(config).items():
        direction = "input" if member.flow is wiring.In else "output"
        ports.append({"name": name, "direction": direction, "bits": Shape.cast(member.shape).width})
    memories = [kind for kind in Section if kind is not Section.END]
    return {
        "build": config.name,
        "top": top_name(config),
        "hash": f"{config.build_hash:08x}",
        "version": MACHINE_VERSION,
        "ports": ports,
        "registers": [{"name": name, **asdict(register)} for name, register in registers(config).items()],
        "memories": [
            {
                "name": kind.name.lower(),
                "kind": kind.value,
                "lines": isa.line_count(config, kind),
                "bits": isa.line_bits(config, kind),
            }
            for kind in memories
        ],
        "instructions": [
            {"name": kind.opcode.name, "opcode": kind.opcode.value, "operands": kind.record(config).widths}
            for kind in instructions(config).values()
        ],
        "channel": Channel.record(config).widths,
    }


def listing_markdown(config: ArrayConfig) -> str:
    """The listing as a page."""
    data = listing(config)
    lines = [f"# {data['top']}", "", f"Build hash `{data['hash']}`, machine version {data['version']}.", ""]
    for title, key in (("Ports", "ports"), ("Registers", "registers"), ("Memories", "memories")):
        rows = data[key]
        columns = list(rows[0])
        lines += [f"## {title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        for row in rows:
            cells = (f"0x{row[c]:02x}" if c == "address" else str(row[c]) for c in columns)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines += [
        "## Instructions",
        "",
        "Fields with their widths (bits), least significant first; the opcode is below them.",
        "",
    ]
    for row in data["instructions"]:
        operands = ", ".join(f"{name} {width}" for name, width in row["operands"].items())
        lines.append(f"- {row['name']} (opcode {row['opcode']}): {operands or 'no operands'}")
    lines += ["", f"A channel: {', '.join(f'{name} {width}' for name, width in data['channel'].items())}", ""]
    return "\n".join(lines)

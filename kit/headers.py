"""C headers: what the driver in `kit/files` knows of a build, and what it knows of a network."""

import zlib
from collections.abc import Iterator
from dataclasses import fields

from twofold.golden.config import MACHINE_VERSION, ArrayConfig
from twofold.golden.fields import Record
from twofold.golden.image import Image, PlacedTensor
from twofold.golden.input_layout import InputLayout
from twofold.golden.isa import (
    FRAME_MAGIC,
    SECTION_HEADER,
    STREAM_BITS,
    Section,
    line_beats,
    line_bits,
    line_count,
    section_kinds,
)
from twofold.golden.outside import line_bytes
from twofold.golden.registers import ID_VALUE, Error, register_fields, registers

#: What the machine answers in its registers that identify it, and how it is called in C.
VALUES = ("ID", "VERSION", "BUILD")


def machine_header(config: ArrayConfig) -> str:
    """``twofold_machine.h`` of a build: registers, sections, errors, parameters."""
    lines = [
        f"/* Twofold build {config.name}, machine version {MACHINE_VERSION}. Generated; do not edit. */",
        *_guarded("TWOFOLD_MACHINE_H", _machine(config)),
    ]
    return "\n".join(lines) + "\n"


def network_header(image: Image) -> str:
    """``twofold_network.h`` of an image: the initialiser of a ``twofold_network``."""
    body = [
        '#include "twofold.h"',
        "",
        "#define TWOFOLD_NETWORK \\",
        "    { \\",
        f"        {_tensor(image.input)}, {_layout(image)}, \\",
        "        (const twofold_tensor[]){ \\",
        *(f"            {_tensor(output)}, \\" for output in image.outputs),
        "        }, \\",
        f"        {len(image.outputs)}u, {image.cycles}u, {image.passes}u, {_outside_bytes(image)}u \\",
        "    }",
    ]
    title = f"/* Network {_comment(image.network)} on build {image.config.name}. Generated; do not edit. */"
    return "\n".join([title, *_guarded("TWOFOLD_NETWORK_H", body)]) + "\n"


def constants(config: ArrayConfig) -> dict[str, int]:
    """Every number of ``twofold_machine.h`` that a host needs, by its name without ``TWOFOLD_``."""
    found = {f"REG_{name}": register.address for name, register in registers(config).items()}
    for name, record in register_fields(config).items():
        found |= _record(name, record)
    values = (ID_VALUE, MACHINE_VERSION, config.build_hash)
    found |= {f"{name}_VALUE": value for name, value in zip(VALUES, values, strict=True)}
    found["FRAME_MAGIC"] = FRAME_MAGIC
    found |= _record("HEADER", SECTION_HEADER)
    found |= {f"SECTION_{kind.name}": kind.value for kind in Section}
    found |= {f"ERROR_{error.name}": error.value for error in Error}
    for key in fields(config):
        value = getattr(config, key.name)
        if not isinstance(value, str):
            found[key.name.upper()] = int(value)
    for kind in section_kinds(config):
        found[f"{kind.name}_LINES"] = line_count(config, kind)
        found[f"{kind.name}_BITS"] = line_bits(config, kind)
        found[f"{kind.name}_BEATS"] = line_beats(config, kind)
    if config.external:
        found["OUTSIDE_LINE_WORDS"] = line_bytes(config, Section.FEATURE) * 8 // STREAM_BITS
    return found


def _guarded(name: str, body: Iterator[str] | list[str]) -> Iterator[str]:
    yield from (f"#ifndef {name}", f"#define {name}", "")
    yield from body
    yield from ("", "#endif")


#: What stands above the first constant whose name begins so.
_TITLES = {
    "REG_": "Registers: byte addresses.",
    "SHAPE_": "Fields of registers.",
    "ID_VALUE": "What the registers that identify the machine read.",
    "FRAME_MAGIC": "First beat of a frame.",
    "HEADER_": "Fields of the first beat of a section's header.",
    "SECTION_": "Kinds of sections.",
    "ERROR_": "Errors in STATUS.",
    "ROWS": "Parameters of the build.",
    "FEATURE_LINES": "Memories: lines, bits of a line, beats of a line in a frame.",
    "OUTSIDE_LINE_WORDS": "Memory outside: words of 32 bits that a feature line takes there.",
}


def _machine(config: ArrayConfig) -> Iterator[str]:
    titles = dict(_TITLES)
    for name, value in constants(config).items():
        for start in [start for start in titles if name.startswith(start)]:
            yield from ("", f"/* {titles.pop(start)} */")
        wide = name.startswith(("REG_", *VALUES)) or name.endswith(("_MASK", "_MAGIC"))
        number = str(value) if name.startswith("ERROR_") else f"0x{value:X}u" if wide else f"{value}u"
        yield f"#define TWOFOLD_{name} {number}"
    yield from ("", "/* What the errors mean, by their codes. */", "#define TWOFOLD_ERROR_TEXTS \\", "    { \\")
    yield " \\\n".join(f'        "{error.meaning}",' for error in Error) + " \\"
    yield "    }"
    yield from ("", "/* CRC-32 of Ethernet and zlib, four bits a step: by the register's low four bits. */")
    yield f"#define TWOFOLD_CRC_NIBBLES {{{', '.join(f'0x{word:08X}u' for word in _crc_nibbles())}}}"


def _record(name: str, record: Record) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, low in record.places.items():
        if key != "reserved":
            mask = (1 << record[key].width) - 1
            found |= {f"{name}_{key.upper()}_SHIFT": low, f"{name}_{key.upper()}_MASK": mask}
    return found


def _crc_nibbles() -> list[int]:
    """The register after four bits, by these bits; a byte whose low four bits are zeros takes as many more steps."""
    ones = (1 << 32) - 1
    return [zlib.crc32(bytes([nibble << 4]), ones) ^ ones for nibble in range(16)]


def _tensor(placed: PlacedTensor) -> str:
    tensor = placed.tensor
    numbers = (*tensor.shape, tensor.bits, int(tensor.signed), placed.address, int(placed.outside))
    return f"{{{', '.join(map(str, numbers))}}}"


def _layout(image: Image) -> str:
    layout = image.input.layout or InputLayout((1, 1), (1, 1), (0, 0), (1, 1), image.input.tensor.shape[1:])
    pairs = (layout.kernel, layout.stride, layout.dilation, layout.size, layout.padding)
    return f"{{{', '.join(f'{{{one}, {other}}}' for one, other in pairs)}}}"


def _outside_bytes(image: Image) -> int:
    return image.outside.size if image.outside else 0


def _comment(text: str) -> str:
    """A text that ends no comment."""
    return ascii(text).replace("*/", "* /")

"""The documents are true: the tutorial's code runs, and the machine's page names every register and instruction."""

import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.frame import frame, split
from twofold.golden.image import pack_tensor
from twofold.golden.isa import OPCODE_BITS, STREAM_BITS, Opcode, Section
from twofold.golden.registers import OUTSIDE_REGISTERS, REGISTERS, Error
from twofold.golden.transfers import Transfer
from twofold.hdl.control import OKAY, SLVERR
from twofold.kit.headers import constants


def test_tutorials_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", Path("docs/tutorial.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    prepared = blocks[0].replace("model = ...", "torch.manual_seed(0)\nmodel = build_model('demo').eval()")
    prepared = prepared.replace("images = ...", "images = load_data('digits').train_x[:32]")
    assert prepared.count("...") == 0
    start = "from twofold.train.data import load_data\nfrom train.models import build_model\n"
    names: dict[str, object] = {}
    exec(start + prepared + blocks[1], names)
    assert len(names["expected"]) == 5


MACHINE = Path("docs/machine.md").read_text(encoding="utf-8")


def test_machine_page_states_every_register_error_and_instruction():
    page = MACHINE
    for name, register in (REGISTERS | OUTSIDE_REGISTERS).items():
        assert f"| 0x{register.address:02X} | {name} |" in page
    for error in list(Error)[1:]:
        assert f"| {error.name} | {error.value} | {error.meaning} |" in page
    for opcode in list(Opcode)[1:]:
        assert f"`{opcode.name}`" in page


def test_machine_page_states_every_field_of_a_transfer():
    config = load_config("configs/log_4x4.toml")
    builds = [replace(config, memory="axi4", bus_bits=bits) for bits in (32, 64, 128)]
    for name, widths in zip(
        Transfer.record(config).widths,
        zip(*(Transfer.record(build).widths.values() for build in builds), strict=True),
        strict=True,
    ):
        bits = str(widths[0]) if len(set(widths)) == 1 else "{}, {} or {}".format(*widths)
        assert f"\n| {name} | {bits} | " in MACHINE, name


def test_machine_page_states_every_constant():
    table = MACHINE.partition("\n## Constants\n")[2].partition("\n## ")[0]
    stated = dict(re.findall(r"^\| (\w+) \| ([\w ]+) \|", table, re.MULTILINE))
    del stated["constant"]
    known = constants(replace(load_config("configs/log_4x4.toml"), memory="axi4"))
    ones = (1 << 32) - 1
    expected = {name: f"0x{known[name]:X}" for name in ("FRAME_MAGIC", "ID_VALUE", "VERSION_VALUE")}
    expected |= {name: str(known[name]) for name in known if name.startswith("SECTION_")}
    for name in [name.removesuffix("_SHIFT") for name in known if name.endswith("_SHIFT") and name != "MAX_PASS_SHIFT"]:
        low, width = known[f"{name}_SHIFT"], known[f"{name}_MASK"].bit_length()
        expected[name] = str(low) if width == 1 else f"{low + width - 1} to {low}"
    expected |= {f"OPCODE_{code.name}": str(code.value) for code in list(Opcode)[1:]}
    expected |= {"STREAM_BITS": str(STREAM_BITS), "OPCODE_BITS": str(OPCODE_BITS)}
    expected |= {"OKAY": str(OKAY), "SLVERR": str(SLVERR)}
    # A CRC's polynomial is what a byte of its highest bit alone leaves.
    expected["CRC_POLYNOMIAL"] = f"0x{zlib.crc32(bytes([128]), ones) ^ ones:X}"
    assert stated == expected


def test_machine_pages_frame_is_one():
    config = load_config("configs/log_4x4.toml")
    beats = frame(config, [(Section.FEATURE, 5, [0x04030201])])
    rows = re.findall(r"^\| (\d+) to (\d+) \| ([\w ]+) \| (\d+) \| 0x(\w{8}) \|", MACHINE, re.MULTILINE)
    assert rows == [
        (str(4 * n), str(4 * n + 3), beat.to_bytes(4, "little").hex(" ").upper(), str(n), f"{beat:08X}")
        for n, beat in enumerate(beats)
    ]


def test_machine_pages_line_is_one():
    config = ArrayConfig(name="odd", pe="log", rows=8, cols=2, word_bits=3, act_bits=5)
    (line,) = pack_tensor(config, np.arange(1, 9).reshape(8, 1, 1))
    beats = split(line, 2)
    assert f"are the 40 bits 0x{line:X}, the beats 0x{beats[0]:08X} and 0x{beats[1]:08X}." in MACHINE

"""The documents are true: the tutorial's code runs, and the machine's page names every register and instruction."""

import re
from pathlib import Path

from twofold.golden.isa import Opcode
from twofold.golden.registers import REGISTERS, Error


def test_tutorials_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", Path("docs/tutorial.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    prepared = blocks[0].replace("model = ...", "torch.manual_seed(0)\nmodel = build_model('demo').eval()")
    prepared = prepared.replace("images = ...", "images = load_data('digits').train_x[:128]")
    assert prepared.count("...") == 0
    start = "from twofold.train.data import load_data\nfrom train.models import build_model\n"
    names: dict[str, object] = {}
    exec(start + prepared + blocks[1], names)
    assert len(names["expected"]) == 5


def test_machine_page_states_every_register_error_and_instruction():
    page = Path("docs/machine.md").read_text()
    for name, register in REGISTERS.items():
        assert f"| 0x{register.address:02X} | {name} |" in page
    for error in list(Error)[1:]:
        assert f"| {error.name} | {error.value} |" in page
    for opcode in list(Opcode)[1:]:
        assert f"`{opcode.name}`" in page

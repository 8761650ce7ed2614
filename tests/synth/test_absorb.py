"""Carry cells take in gates: fewer look-up tables, the same function."""

import json
from itertools import product

import pytest

from twofold.support.once import Store
from twofold.synth.absorb import absorb, fit
from twofold.synth.fpga import ecp5_trees, synthesise
from twofold.synth.yosys import read_json, run_yosys

SUMS = """
module part(input [5:0] a, b, c, input v, w, output [6:0] gated, either, output [5:0] less);
  assign gated = (a & {6{v}}) + (b & {6{w}});
  assign either = a + (w ? b : c);
  assign less = a - (b ^ {6{v}});
endmodule
"""
SCRIPT = (
    "read_verilog -overwrite +/ecp5/cells_sim.v; read_json changed.json; hierarchy -top part; proc; flatten; "
    "opt_clean; rename part gate; read_verilog design.v; proc; rename part gold; "
    "miter -equiv -flatten gold gate miter; sat -verify -prove trigger 0 miter"
)


def test_gates_go_into_carry_cells_that_compute_the_same(tmp_path):
    store = Store(tmp_path)
    plain = synthesise(ecp5_trees(), SUMS, "part", store)
    absorbed = synthesise(ecp5_trees(absorbs=True), SUMS, "part", store)
    # Two ANDs a bit, a multiplexer a bit, an exclusive-or a bit.
    assert plain.cells["LUT4"] == 6 * (2 + 1 + 1)
    assert absorbed.cells["LUT4"] == 0
    assert absorbed.luts == plain.luts - 24
    folder = next(path.parent for path in tmp_path.glob("*/netlist.json"))
    netlist = read_json(folder / "netlist.json")
    absorb(netlist)
    (folder / "changed.json").write_text(json.dumps({"modules": {"part": netlist["modules"]["part"]}}))
    run_yosys(SCRIPT, folder)
    (folder / "design.v").write_text(SUMS.replace("a & {6{v}}", "a & {6{w}}"))
    with pytest.raises(RuntimeError, match=r"^Yosys must end well"):
        run_yosys(SCRIPT, folder)


def test_half_a_carry_cell_adds_two_functions():
    wire, both, either = (("a",), 0b10), (("b", "c"), 0b1000), (("b", "c", "d"), 0b11101000)
    other = (("d", "e"), 0b1110)
    for one, two in ((wire, both), (wire, either), (both, other)):
        pins, init = fit(one, two) or pytest.fail("does not fit")
        nets = [pin for pin in pins if pin != "1"]
        for values in product((0, 1), repeat=len(nets)):
            known = dict(zip(nets, values, strict=True)) | {"1": 1}
            at = [known[pin] for pin in pins]
            x, y = (table >> sum(known[net] << n for n, net in enumerate(names)) & 1 for names, table in (one, two))
            propagate = init >> sum(bit << n for n, bit in enumerate(at)) & 1
            generate = init >> (at[0] + 2 * at[1]) & 1
            assert propagate == x ^ y
            assert propagate or generate == x


@pytest.mark.parametrize(
    ("one", "two"),
    [
        # Five nets; and four of which none can be the one that carries.
        ((("a", "b"), 0b1000), (("c", "d", "e"), 0b10000000)),
        ((("a", "b"), 0b0110), (("a", "b", "c", "d"), 0b1011_0010_0100_1101)),
    ],
)
def test_what_does_not_fit_stays_outside(one, two):
    assert fit(one, two) is None

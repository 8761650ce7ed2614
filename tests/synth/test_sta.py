"""Static timing, on delays that can be added by hand: a cell's own delay plus 1 ns a pF, every input pin 0.1 pF."""

import json
from pathlib import Path

import pytest

from twofold.support.once import Store
from twofold.synth.asic import asic_area
from twofold.synth.liberty import read_liberty
from twofold.synth.sta import Table, Timing, longest_path

LIBRARY = Path("tests/synth/small.lib")


@pytest.fixture(scope="module")
def timing():
    return Timing(read_liberty(LIBRARY))


def netlist(cells, ports, names=None):
    """A netlist as Yosys writes it: cells are (type, {pin: net}), ports (direction, net)."""
    nets = {net for _, pins in cells for net in pins.values()}
    return {
        "modules": {
            "top": {
                "attributes": {"top": "1"},
                "ports": {name: {"direction": way, "bits": [net]} for name, (way, net) in ports.items()},
                "cells": {
                    f"cell{n}": {"type": kind, "connections": {pin: [net] for pin, net in pins.items()}}
                    for n, (kind, pins) in enumerate(cells)
                },
                "netnames": {(names or {}).get(net, f"net{net}"): {"bits": [net]} for net in nets},
            }
        }
    }


def test_from_register_through_gates_to_register(timing):
    # Clock to output 1.0 + 0.1 (one pin), then NOT 0.1 + 0.1, then NAND 0.2 + 0.1, setup 0.25.
    cells = [
        ("KEEP", {"CK": 9, "D": 1, "Q": 2}),
        ("NOT", {"A": 2, "Y": 3}),
        ("NAND", {"A": 3, "B": 1, "Y": 4}),
        ("KEEP", {"CK": 9, "D": 4, "Q": 5}),
    ]
    path = longest_path(netlist(cells, {"d": ("input", 1)}, {2: "from_here", 5: "to_here"}), timing)
    assert (path.start, path.end, path.cells) == ("from_here", "to_here", 3)
    assert path.delay == pytest.approx(1.0 + 0.1 + 0.1 + 0.1 + 0.2 + 0.1 + 0.25)


def test_ports_are_ends_and_both_outputs_of_an_adder_count(timing):
    cells = [("THREE", {"P": 1, "Q": 2, "R": 3, "T": 4, "M": 5}), ("NOT", {"A": 5, "Y": 6})]
    ports = {"a": ("input", 1), "b": ("input", 2), "c": ("input", 3), "s": ("output", 4), "n": ("output", 6)}
    path = longest_path(netlist(cells, ports), timing)
    assert path.delay == pytest.approx(0.5 + 0.1 + 0.1)  # carry, its load, inverter; the sum takes 0.6
    assert path.end == "net6"


def test_wide_nets_cost_more_than_narrow_ones(timing):
    def fan(count):
        sinks = [("NOT", {"A": 2, "Y": 10 + n}) for n in range(count)]
        return longest_path(netlist([("NOT", {"A": 1, "Y": 2}), *sinks], {"y": ("output", 10)}), timing).delay

    assert fan(1) < fan(3) < fan(8)


@pytest.mark.parametrize(
    ("slew", "load", "value"), [(0, 0, 1.0), (2, 4, 4.0), (1, 2, 2.25), (9, 9, 4.0), (-1, 4, 2.0), (2, 0, 2.0)]
)
def test_tables_interpolate_and_hold(slew, load, value):
    assert Table((0.0, 2.0), (0.0, 4.0), ((1.0, 2.0), (2.0, 4.0))).at(slew, load) == pytest.approx(value)


def test_a_longer_chain_takes_longer(timing, tmp_path):
    def delay(bits):
        verilog = f"""module add(input clk, input [{bits - 1}:0] a, b, output reg [{bits}:0] y);
          reg [{bits - 1}:0] ra, rb;
          always @(posedge clk) begin ra <= a; rb <= b; y <= ra + rb; end
        endmodule"""
        mapped = asic_area(verilog, "add", LIBRARY, adders=["cells"], store=Store(tmp_path))
        return longest_path(json.loads(Path(mapped.netlist).read_text()), timing)

    short, long = delay(4), delay(6)
    # Two more full adders, each 0.5 ns and the load of one pin.
    assert long.delay - short.delay == pytest.approx(2 * (0.5 + 0.1), abs=1e-3)
    assert long.start.startswith(("ra", "rb")) and long.end.startswith("y")

"""A kept result is never stale: what made it is in its key; and nothing else is."""

import pytest

from twofold.support import once
from twofold.support.once import Made, Store
from twofold.support.sources import sources
from twofold.synth.asic import AsicArea
from twofold.synth.fpga import TECHNOLOGIES, place_and_route
from twofold.synth.paths import critical_path


class Asked(Store):
    """Gives an answer to every key, and knows what it was asked for."""

    def __init__(self, folder, value):
        super().__init__(folder)
        self.keys, self.value = [], value

    def get(self, key, make):
        self.keys.append(key)
        return Made(self.value, self.folder)


@pytest.fixture
def change(monkeypatch):
    """Changes a module's source, as keys see it."""
    real = once.source_digests

    def change(module):
        monkeypatch.setattr(once, "source_digests", lambda *names: real(*names) | {module: "other"})

    return change


@pytest.mark.parametrize(
    "changed",
    ["twofold.synth.sta", "twofold.synth.liberty", "twofold.synth.asic", "twofold.synth.paths", "netlist", "library"],
)
def test_a_delay_is_made_again_after_a_change(changed, tmp_path, change):
    netlist, library = tmp_path / "netlist.json", tmp_path / "cells.lib"
    netlist.write_text("{}")
    library.write_text("library (x) {}")
    area = AsicArea(1.0, 0.0, {}, 0, 0, "cells", str(netlist))
    store = Asked(tmp_path / "store", {"delay": 1.0})
    for _ in range(2):
        critical_path(area, library, store)
    if changed == "netlist":
        netlist.write_text("{ }")
    elif changed == "library":
        library.write_text("library (y) {}")
    else:
        assert changed in sources("twofold.synth.paths")
        change(changed)
    critical_path(area, library, store)
    assert store.keys[0] == store.keys[1] != store.keys[2]


@pytest.mark.parametrize("changed", ["source", "design", "comment", "rate", "netlist"])
def test_an_fpga_result_depends_on_its_sources_and_its_design(changed, tmp_path, change, monkeypatch):
    monkeypatch.setattr(once, "version", lambda name: "1")
    (tmp_path / "netlist.json").write_text("{}")
    counts = {"cells": {}, "luts": 1, "carries": 0, "ffs": 0, "brams": 0, "multipliers": 0}
    store = Asked(tmp_path, counts | {"fmax": 1.0, "path": None})
    technology, design, rate = next(iter(TECHNOLOGIES.values())), "module x;\n", 100
    place_and_route(technology, design, "x", store)
    if changed == "source":
        change("twofold.synth.yosys")
    elif changed == "design":
        design = "module x; \n"
    elif changed == "comment":
        design = "// name\n" + design
    elif changed == "netlist":
        (tmp_path / "netlist.json").write_text("{ }")
    else:
        rate = 99
    place_and_route(technology, design, "x", store, target=rate)
    mapped, placed, mapped_again, placed_again = store.keys
    assert (mapped != mapped_again) is (changed in ("source", "design"))
    assert (placed != placed_again) is (changed in ("source", "rate", "netlist"))


@pytest.mark.parametrize(
    ("maker", "needs"),
    [
        ("synth.asic", {"synth.gates", "synth.liberty", "synth.yosys"}),
        ("synth.fpga", {"synth.absorb", "synth.yosys"}),
        ("formal.solver", {"synth.yosys"}),
        ("sim.runner", {"sim.tools"}),
        ("sim.host", {"sim.tools", "golden.registers"}),
    ],
)
def test_what_makes_results_is_in_their_keys_and_hardware_is_not(maker, needs):
    """Of the hardware, keys hold the text: a change that leaves it as it is makes nothing anew."""
    found = {name.removeprefix("twofold.") for name in sources(f"twofold.{maker}")}
    assert needs <= found
    # `hdl.wasm` runs Yosys, and is no hardware.
    assert not {name for name in found - {"hdl", "hdl.wasm"} if name.startswith(("hdl", "train", "mapper"))}

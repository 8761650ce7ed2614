"""A kept result is never stale: what made it is in its key."""

import pytest

from twofold.synth import asic, fpga
from twofold.synth.asic import AsicArea, critical_path
from twofold.synth.cache import Cache, source_hash


def test_a_changed_module_has_another_hash(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "made_up_step.py"
    path.write_text("DELAY = 1")
    first = source_hash("made_up_step", "twofold.synth.sta")
    assert first == source_hash("made_up_step", "twofold.synth.sta") != source_hash("twofold.synth.sta")
    path.write_text("DELAY = 2")
    assert source_hash("made_up_step", "twofold.synth.sta") != first
    with pytest.raises(ValueError, match=r"Modules must be files of Python, not \('no_such_step',\)"):
        source_hash("no_such_step")


@pytest.mark.parametrize(
    "changed", ["twofold.synth.sta", "twofold.synth.liberty", "twofold.synth.asic", "netlist", "library"]
)
def test_a_delay_is_made_again_after_a_change(changed, tmp_path, monkeypatch):
    netlist, library = tmp_path / "netlist.json", tmp_path / "cells.lib"
    netlist.write_text("{}")
    library.write_text("library (x) {}")
    area = AsicArea(1.0, 0.0, {}, 0, 0, "cells", str(netlist))
    cache = Cache(tmp_path / "cache")
    monkeypatch.setattr(cache, "get", lambda parts, make: {"key": parts})
    before = critical_path(area, library, cache)
    assert critical_path(area, library, cache) == before
    if changed == "netlist":
        netlist.write_text("{ }")
    elif changed == "library":
        library.write_text("library (y) {}")
    else:
        monkeypatch.setattr(asic, "source_hash", lambda *names: f"changed {changed in names}")
        assert "changed True" in critical_path(area, library, cache)["key"]
    assert critical_path(area, library, cache) != before


def test_an_fpga_result_depends_on_its_sources(monkeypatch):
    technology = next(iter(fpga.TECHNOLOGIES.values()))
    monkeypatch.setattr(fpga, "source_hash", lambda *names: " ".join(names))
    assert any(
        "twofold.synth.fpga twofold.synth.yosys" in part for part in fpga._synth_parts(technology, "module x;", "x")
    )

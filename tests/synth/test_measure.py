"""The report: rows, table, picture, command line; and that nothing unchanged is made again."""

import json
from pathlib import Path

import pytest

from twofold.golden.config import ArrayConfig, load_config
from twofold.support.jobs import Processes
from twofold.support.once import Store
from twofold.synth import yosys
from twofold.synth.__main__ import main
from twofold.synth.fpga import TECHNOLOGIES, place_and_route, readable
from twofold.synth.measure import ASIC, COMPONENTS, Measurement, measure, measure_all

LIBRARY = Path("tests/synth/small.lib")


def test_every_component_of_the_machine_can_be_measured(small, mapped):
    measurements = [Measurement(small, component, "ecp5") for component in COMPONENTS]
    rows = {row["component"]: row for row in measure_all(measurements, mapped, Processes(1), route=False)}
    assert tuple(rows) == COMPONENTS
    assert all(
        row["multipliers"] == 0 and row["fmax"] is None and row["reason"] == "not routed" for row in rows.values()
    )
    assert rows["pe"]["luts"] < rows["array"]["luts"] < rows["top"]["luts"]
    # A PE's registers, times four, are in the array; the machine also has the memories that its parts lack.
    assert 4 * rows["pe"]["ffs"] < rows["array"]["ffs"] < rows["top"]["ffs"]
    assert rows["top"]["brams"] > sum(rows[name]["brams"] for name in ("array", "loader", "sequencer"))


def test_nothing_unchanged_is_made_again(small, tmp_path, monkeypatch):
    calls = []
    real = yosys.run_tool

    def counted(package, *others):
        calls.append(package)
        real(package, *others)

    monkeypatch.setattr(yosys, "run_tool", counted)

    def run(component, config=small, technology="ecp5"):
        before = len(calls)
        row = measure(Measurement(config, component, technology), Store(tmp_path), liberty=LIBRARY, route=False)
        return row, len(calls) - before

    first, made = run("pe")
    assert made > 0
    assert run("pe") == (first, 0)
    # Another build with the same PE: the name is no part of the hardware, the depth of a memory is none of the PE's.
    other = ArrayConfig(**{**vars_of(small), "name": "other", "weight_depth": 128})
    assert run("sender")[1] > 0
    assert run("pe", ArrayConfig(**{**vars_of(small), "act_bits": 4}))[1] > 0
    assert run("pe", other)[1] == 0
    standard, made = run("pe", technology=ASIC)
    assert made > 0 and standard["area"] > 0 and standard["delay"] > 0
    assert run("pe", technology=ASIC) == (standard, 0)


def vars_of(config):
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def test_command_line(tmp_path, capsys):
    config = "configs/log_4x4.toml"
    options = ["--component", "pe", "sender", "--tech", "ecp5", "asic", "--no-route", "--out", str(tmp_path)]
    assert main(["--config", config, *options, "--liberty", str(LIBRARY)]) == 0
    printed = capsys.readouterr().out
    assert "log_4x4, ecp5" in printed and "log_4x4, asic" in printed
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [(row["technology"], row["component"]) for row in rows] == [
        ("ecp5", "pe"),
        ("ecp5", "sender"),
        ("asic", "pe"),
        ("asic", "sender"),
    ]
    assert {"cells", "luts", "ffs", "brams", "fmax", "multipliers"} <= set(rows[0])
    assert {"cells", "area", "ffs", "fmax", "delay", "multipliers"} <= set(rows[2])
    assert (tmp_path / "area.svg").read_text().startswith("<?xml")
    assert main(["--config", config, *options, "--liberty", str(LIBRARY)]) == 0
    assert "results made 0," in capsys.readouterr().out


def test_standard_cells_need_a_library(tmp_path, capsys):
    assert main(["--config", "configs/log_4x4.toml", "--tech", "asic", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: Liberty file must be given for standard cells (LIBERTY=path), not left out\n"
    )


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("design.row_address_TRELLIS_FF_Q_3_DI_LUT4_Z", "row_address"),
        ("design.array.column0.sum1_0_CCU2C_S0_2$nextpnr", "array.column0.sum1_0"),
        ("between_codes_13", "between_codes_13"),
    ],
)
def test_cells_are_named_by_their_signal(name, signal):
    assert readable(name) == signal


@pytest.mark.parametrize("technology", TECHNOLOGIES.values(), ids=TECHNOLOGIES)
def test_place_and_route(technology, tmp_path):
    if not technology.installed:
        pytest.skip(f"{technology.package} is not installed")
    measurement = Measurement(load_config("configs/log_4x4.toml"), "sender", technology.name)
    result = place_and_route(technology, measurement.verilog(), measurement.top, Store(tmp_path))
    assert 50 < result.fmax < 1000
    assert result.path["logic"] + result.path["routing"] == pytest.approx(1000 / result.fmax, rel=0.02)

"""What is made of Verilator's counts, on texts by hand; and one bench that counts."""

import json
import re

import pytest

from twofold.sim import __main__ as command
from twofold.sim import coverage, runner
from twofold.sim.__main__ import main
from twofold.sim.coverage import Count, Exclusion, Point, exclusions, merge, read, summary, table

TEXT = ["module a;", "  if (\\$auto$verilog_backend.cc:1:dump$1 ) begin end", "  if (x) y <= 1;", "  else y <= 0;", ""]


@pytest.fixture
def counted(tmp_path):
    def write(name, text, *rows):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "design.v").write_text("\n".join(text))
        lines = ["# SystemC::Coverage-3"]
        for page, where, line, what, hits in rows:
            facts = {"f": "x.v", "l": line, "n": 3, "t": "t", "page": page, "o": what, "h": where}
            lines.append("C '" + "".join(f"\1{key}\2{value}" for key, value in facts.items()) + f"' {hits}")
        (folder / "coverage.dat").write_text("\n".join(lines) + "\n")
        return folder / "coverage.dat"

    return write


def test_counts_become_points_of_components(counted):
    path = counted(
        "own",
        TEXT,
        ("v_line/twofold_window", "twofold_window", 2, "if", 0),
        ("v_line/twofold_window", "twofold_window", 3, "if", 7),
        ("v_branch/twofold_window", "twofold_window", 4, "else", 0),
        ("v_toggle/twofold_window", "twofold_window", 1, "y:0->1", 3),
        ("v_toggle/twofold_window", "twofold_window", 1, "__02410[0]:0->1", 3),
        ("v_toggle/twofold_window_unit", "twofold_window.unit0", 1, "z[2]:1->0", 1),
        ("v_toggle/twofold_window_unit", "twofold_window.unit1", 1, "z[2]:1->0", 2),
    )
    points = read(path, "log_4x4")
    lines = {point.name.split(" ", 1)[1]: count for point, count in points.items() if point.kind == "line"}
    assert lines == {"0 if": Count(7, "twofold_window:3:3"), "1 else": Count(0, "twofold_window:4:3")}
    assert {point: count.hits for point, count in points.items() if point.kind == "toggle"} == {
        Point("log_4x4", "window", "toggle", "y:0->1"): 3,
        Point("log_4x4", "requant_unit", "toggle", "z[2]:1->0"): 3,
    }


def test_a_module_in_two_texts_counts_once(counted):
    own = counted(
        "own",
        TEXT,
        ("v_line/twofold_window", "twofold_window", 3, "if", 7),
        ("v_branch/twofold_window", "twofold_window", 4, "else", 0),
        ("v_toggle/twofold_window", "twofold_window", 1, "y:0->1", 0),
    )
    machine = counted(
        "machine",
        ["", "", *TEXT],
        ("v_line/twofold_log_4x4_window", "twofold_log_4x4.compute.window", 5, "if", 0),
        ("v_branch/twofold_log_4x4_window", "twofold_log_4x4.compute.window", 6, "else", 1),
        ("v_toggle/twofold_log_4x4_window", "twofold_log_4x4.compute.window", 3, "y:0->1", 2),
        ("v_line/twofold_log_4x4", "twofold_log_4x4", 5, "if", 1),
    )
    points = merge([read(own, "log_4x4"), read(machine, "log_4x4")])
    assert [point.component for point in points if not points[point].hits] == []
    assert sorted({point.component for point in points}) == ["top", "window"] and len(points) == 4
    other = merge([read(own, "log_4x4"), read(machine, "subset_4x4")])
    assert len([point for point in other if point.component == "window"]) == 6


def test_signals_of_one_name_are_told_apart_by_their_order(counted):
    """Amaranth appends numbers that differ from text to text."""

    def texts(*suffixes, hit):
        names = [f"entry{suffix}" for suffix in suffixes]
        rows = [("v_toggle/a_list", "a", 1, f"{name}[2]:0->1", int(name == names[hit])) for name in names]
        rows += [("v_toggle/a_list", "a", 1, f"{name}__02eline:0->1", 0) for name in names]
        return counted("-".join((*suffixes, str(hit))), TEXT, *rows)

    own, machine = texts("", "__0247", hit=0), texts("__02424", "__024107", hit=1)
    points = merge([read(own, "log_4x4"), read(machine, "log_4x4")])
    assert {point.name: count.hits for point, count in points.items()} == {
        "entry[2] 1/2:0->1": 1,
        "entry[2] 2/2:0->1": 1,
        "entry__02eline 1/2:0->1": 0,
        "entry__02eline 2/2:0->1": 0,
    }
    three = read(texts("", "__0241", "__0242", hit=0), "log_4x4")
    assert len(merge([points, three])) == 10, "of another number of signals"


def test_what_is_excluded_is_no_point_and_what_is_reached_is_one():
    points = {
        Point("a", "window", "toggle", name): Count(hits, "place")
        for name, hits in (("x[0]:0->1", 1), ("x[1]:0->1", 0), ("x[2]:0->1", 0), ("y:0->1", 4))
    }
    out = [Exclusion("window", "toggle", r"[xy]\[?[02]?\]?:.*", "why"), Exclusion("window", "toggle", ".*", "why", "b")]
    window, total = summary(points, out)
    expected = {"points": 3, "reached": 2, "excluded": 1}
    assert window["toggle"] == expected | {"missed": ["a x[1]:0->1 (place)"]} and total["toggle"] == expected
    assert re.search(r"^all +- +0 +66\.7 +3 +1$", table([window, total]), re.MULTILINE)


def test_wrong_files_are_one_error(counted, tmp_path):
    path = counted("x", TEXT)
    path.write_text("nothing\n")
    with pytest.raises(ValueError, match=r"coverage.dat: file must be Verilator's coverage, not this$"):
        read(path, "a")
    path.write_text("# SystemC::Coverage-3\nC 'x' many\n")
    with pytest.raises(ValueError, match=r"line must be a count of Verilator's, not \"C 'x' many\"$"):
        read(path, "a")
    (tmp_path / "bare.toml").write_text('[[exclusion]]\ncomponent = "a"\nkind = "line"\nname = "x"\nreason = ""\n')
    with pytest.raises(ValueError, match=r"bare.toml: exclusion must have component, kind, name, reason, not "):
        exclusions(tmp_path / "bare.toml")


def test_every_exclusion_has_a_pattern_and_a_kind():
    for one in exclusions():
        assert re.compile(one.name) and one.kind in coverage.KINDS


def test_a_bench_counts_what_it_reaches(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "COVERAGE", tmp_path / "coverage.json")
    monkeypatch.setattr(runner, "report", lambda results, **facts: None)
    assert main(["pe", "--coverage", "--config", "configs/log_4x4.toml"]) == 0
    row, total = json.loads((tmp_path / "coverage.json").read_text())["coverage"]
    assert row["component"] == "pe" and row["line"]["points"] == row["line"]["reached"] > 3
    assert total["toggle"]["points"] == row["toggle"]["points"] > 20
    assert row["toggle"]["reached"] + len(row["toggle"]["missed"]) == row["toggle"]["points"]
    assert row["toggle"]["reached"] > 0.9 * row["toggle"]["points"]
    assert "\npe " in capsys.readouterr().out


def test_coverage_is_of_benches(capsys):
    with pytest.raises(SystemExit):
        main(["--coverage", "--random", "2"])
    assert (
        capsys.readouterr().err
        == "error: --coverage must be given with benches only, without --waves and --sim icarus\n"
    )

"""The picture of components' areas."""

import os

from tests.figures import faults
from twofold.synth.measure import ASIC, COMPONENTS
from twofold.synth.report import picture, save_svg

BUILDS = ("log_4x4", "subset_16x16", "a_build_of_the_users_own")


def test_nothing_in_the_picture_is_cut_or_covered():
    facts = {"luts": 1000, "area": 5e4}
    rows = [
        {"configuration": build, "technology": technology, "component": component, **facts}
        for build in BUILDS
        for technology in ("ecp5", "ice40", ASIC)
        for component in COMPONENTS
    ]
    for some in (rows, rows[: len(COMPONENTS)], rows[: 3 * len(COMPONENTS)]):
        assert faults(picture(some)) == []


def test_a_build_keeps_its_colour_in_every_panel():
    one = {"component": "pe", "luts": 1, "area": 1}
    rows = [{**one, "configuration": "a", "technology": "ecp5"}, {**one, "configuration": "b", "technology": "ecp5"}]
    rows.append({**one, "configuration": "b", "technology": ASIC})
    left, right = picture(rows).axes
    assert right.patches[0].get_facecolor() == left.patches[1].get_facecolor() != left.patches[0].get_facecolor()


def test_a_picture_is_written_whole_and_what_a_killed_run_has_left_goes(tmp_path):
    rows = [{"component": "pe", "luts": 1, "configuration": "a", "technology": "ecp5"}]
    path = tmp_path / "new" / "area.svg"
    save_svg(picture(rows), path)
    first = path.stat().st_ino
    (path.parent / ".area.svg.part").write_text("<svg")
    save_svg(picture(rows), path)
    assert path.read_text().rstrip().endswith("</svg>")
    assert path.stat().st_ino == first, "the same picture must be the same bytes"
    assert os.listdir(path.parent) == ["area.svg"]

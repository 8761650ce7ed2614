"""The demo's page: its pictures, links and commands, from networks that were not trained."""

import html
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

import twofold.hdl.__main__
import twofold.sim.__main__
import twofold.train.__main__
from tests.figures import faults
from twofold.command import COMMANDS
from twofold.demo import __main__ as demo
from twofold.demo import pictures, report, steps
from twofold.demo.variants import VARIANTS, Outcome
from twofold.golden import container, image_folder, layers
from twofold.golden.config import load_config
from twofold.mapper.__main__ import main as mapper
from twofold.mapper.compiler import compile_network
from twofold.support.files import write_text
from twofold.train.convert import calibrate, convert
from twofold.train.data import load_data
from twofold.train.export import export
from twofold.train.models import build_model
from twofold.train.pipelines import Quantized
from twofold.train.recipe import load_recipe

CHOSEN = VARIANTS[:2]
#: A page is read in a window of that width (pixels).
WINDOW = 1280


@pytest.fixture(scope="module")
def data():
    whole = load_data("digits")
    return replace(whole, test_x=whole.test_x[:8], test_y=whole.test_y[:8])


@pytest.fixture(scope="module")
def outcomes(data):
    return [outcome(variant, data) for variant in CHOSEN]


def outcome(variant, data):
    torch.manual_seed(0)
    recipe, config = load_recipe(f"recipes/{variant.recipe}.toml"), load_config(f"configs/{variant.config}.toml")
    model = convert(build_model("demo").eval(), recipe, data.input)
    calibrate(model, data.train_x[:64])
    model.finish()
    network = export(model, config)
    image = compile_network(network, config)
    tensors = layers.run(network, data.test_integers.numpy())
    rates = {"golden_accuracy": 0.99, "torch_accuracy": 0.99, "rtl_accuracy": 0.985}
    counts = {"rtl_images": 8, "mismatches": 0, "compared": 8, "cycles_simulated": image.cycles, "multipliers": 0}
    return Outcome(variant, Quantized(model, recipe, 0.988, 0.99), network, image, tensors, **rates, **counts)


@pytest.fixture(scope="module")
def page(outcomes, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("the demo's")
    for one in outcomes:
        container.save(one.network, folder / "networks" / one.variant.recipe)
        image_folder.save(one.image, folder / "images" / one.variant.recipe)
        write_text(folder / "verilog" / f"twofold_{one.variant.config}.v", "module\n")
    made_by = steps.command("demo", "--out", folder)
    report.write(outcomes, data, folder, seconds=1.0, made_by=made_by)
    return folder, (folder / "report.html").read_text()


def test_nothing_in_the_pictures_is_cut_or_covered(outcomes, data):
    errors = pictures.layer_errors(outcomes, data)
    drawn = [pictures.accuracies(outcomes), pictures.errors_by_layer(outcomes, errors), pictures.timelines(outcomes)]
    drawn += [pictures.weight_histograms(one) for one in outcomes]
    assert [faults(figure) for figure in drawn] == [[]] * (3 + len(CHOSEN))
    assert all(figure.get_figwidth() * pictures.DPI <= WINDOW for figure in drawn)


def test_accuracies_below_90_are_seen(outcomes):
    poor = [replace(outcomes[0], rtl_accuracy=0.5), *outcomes[1:]]
    for those, bottom in ((outcomes, 90), (poor, 0)):
        (axes,) = pictures.accuracies(those).axes
        assert axes.get_ylim() == (bottom, 100) and axes.get_ylabel() == f"accuracy (%), from {bottom}"


def test_the_page_fits_its_window(page):
    _, text = page
    style = text[text.index("<style>") : text.index("</style>")]
    assert float(re.search(r"body \{[^}]*max-width: (\d+)rem", style)[1]) * 16 <= WINDOW - 32
    assert not re.search(r"(?<![-\w])(min-)?width: ?[\d.]+(px|rem|em)", style) and "nowrap" not in style
    assert re.search(r"img \{[^}]*max-width: 100%", style)
    assert re.search(r"\.wide, pre \{[^}]*max-width: 100%; overflow-x: auto", style)
    assert not re.search(r"<(img|table|pre|td|th)[^>]* width=", text)
    assert text.count("<table") == text.count('<div class="wide"><table') == 1 + len(CHOSEN)


def test_every_link_leads_to_a_file(page):
    folder, text = page
    links = [unquote(html.unescape(link)) for link in re.findall(r'href="([^"]+)"', text)]
    files = [link for link in links if not link.startswith("#")]
    assert all((folder / file).is_file() for file in files)
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert made - set(files) == {"report.html"}
    assert all(f'id="{link[1:]}"' in text for link in links if link.startswith("#"))


def test_the_commands_run_or_parse(page, outcomes, monkeypatch):
    for name in ("emit", "listing", "listing_markdown"):  # of whole machines: seconds each
        monkeypatch.setattr(twofold.hdl.__main__, name, lambda config: config.name)
    folder, text = page
    found = [line for block in re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL) for line in block.splitlines()]
    lines = [shlex.split(html.unescape(line)) for line in found]
    assert all(line[0] == "twofold" and line[1] in COMMANDS for line in lines)
    by_command = {}
    for _, name, *arguments in lines:
        by_command.setdefault(name, []).append(arguments)
    assert {name: len(given) for name, given in by_command.items()} == {
        "demo": 1,
        "train": 5,
        "map": 2,
        "emit": 2,
        "sim": 2,
        "synth": 2,
    }
    assert demo.parse(by_command["demo"][0]).out == folder
    for arguments in by_command["train"]:
        options = twofold.train.__main__._parser().parse_args(arguments)
        assert all(path.is_file() for path in (options.__dict__.get("config"), options.__dict__.get("recipe")) if path)
    for arguments in by_command["map"]:
        assert mapper(arguments) == 0
    for arguments in by_command["emit"]:
        assert twofold.hdl.__main__.main(arguments) == 0
    for arguments in by_command["sim"]:
        assert container.load(twofold.sim.__main__._parse(arguments).network)
    assert {tuple(arguments) for arguments in by_command["synth"]} == {
        ("--config", f"configs/{one.variant.config}.toml") for one in outcomes
    }
    assert all(Path(path).is_file() for arguments in by_command["synth"] for path in arguments[1:])


def test_the_report_says_what_made_it(page):
    folder, _ = page
    table = json.loads((folder / "report.json").read_text())
    assert shlex.split(table["command"]) == ["twofold", "demo", "--out", str(folder)]
    assert [row["recipe"] for row in table["variants"]] == [variant.recipe for variant in CHOSEN]

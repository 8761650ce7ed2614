"""The demo's steps one by one: for each variant the files that it left, and the commands that make them again."""

import shlex
from pathlib import Path

from twofold.demo.variants import Variant
from twofold.golden.config import load_config
from twofold.hdl.emit import top_name
from twofold.train.recipe import load_recipe

#: Where the commands keep the trained networks; the demo keeps none.
RUNS = Path("build/runs")


def command(*arguments: object) -> str:
    """A line for the shell, to be run from the project's folder with ``build/venv/bin`` on the path."""
    return shlex.join(["twofold", *map(str, arguments)])


def training() -> str:
    """Trains the float network that all variants begin with."""
    return command("train", "fit", "--out", RUNS / "float")


def commands(variant: Variant, folder: Path) -> list[str]:
    """Quantize, export, map, emit, simulate and synthesise one variant into the demo's folder."""
    recipe, config = Path("recipes") / f"{variant.recipe}.toml", Path("configs") / f"{variant.config}.toml"
    method = "ptq" if load_recipe(recipe).method == "ptq" else "fit"
    run, network = RUNS / variant.recipe, folder / "networks" / variant.recipe
    build = ("--config", config)
    return [
        command("train", method, "--out", run, "--start", RUNS / "float", "--recipe", recipe, *build),
        command("train", "export", run, *build, "--out", network),
        command("map", network, *build, "--out", folder / "images" / variant.recipe),
        command("emit", *build, "--out", folder / "verilog"),
        command("sim", "--network", network, *build),
        command("synth", *build),
    ]


def files(variant: Variant, folder: Path) -> list[str]:
    """Files of a variant, relative to the demo's folder."""
    found = [path for part in ("networks", "images") for path in (folder / part / variant.recipe).iterdir()]
    verilog = folder / "verilog" / f"{top_name(load_config(Path('configs') / f'{variant.config}.toml'))}.v"
    return [path.relative_to(folder).as_posix() for path in [*sorted(found), verilog] if path.is_file()]

"""The names of `import twofold`, that they are imported when they are used, and that nothing changes global state."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

import twofold

FOLDERS = sorted(path.name for path in Path("src/twofold").iterdir() if path.is_symlink())
CLEAN = """
import sys
import twofold
assert twofold.__version__
heavy = {"torch", "amaranth", "numpy", "matplotlib", "cocotb", "rich"} & set(sys.modules)
assert not heavy, heavy
assert set(twofold.__all__) <= set(dir(twofold))
inner = {name for name in sys.modules if name.startswith("twofold.")}
assert not inner, inner
"""
EVERYTHING = """
import importlib, os, random, signal, sys, warnings
from pathlib import Path
import amaranth, cocotb, cocotbext.axi, matplotlib, numpy, sklearn.datasets, torch
def state():
    return {
        "backend": matplotlib.rcParams._get_backend_or_none(), "threads": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(), "default": torch.get_default_dtype(),
        "torch": torch.get_rng_state().tolist(), "numpy": numpy.random.get_state()[1].tolist(),
        "random": random.getstate(), "environment": dict(os.environ), "folder": os.getcwd(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "printing": numpy.get_printoptions(), "errors": numpy.geterr(), "styles": matplotlib.rcParams.copy(),
    }
before = state()
count = 0
root = Path("src").resolve()
for path in sorted(path for folder in sys.argv[1:] for path in (root / "twofold" / folder).rglob("*.py")):
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    # Those run in a simulator, or beside packages of an environment of their own.
    if name.startswith(("twofold.sim.bench_", "twofold.sim.network_bench", "twofold.bench.peers.")):
        continue
    importlib.import_module(name)
    count += 1
after = state()
assert not {key for key in before if before[key] != after[key]}, [key for key in before if before[key] != after[key]]
print(count)
"""


def run(script, *arguments):
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", twofold.__all__)
def test_every_name_is_what_it_says(name):
    place = twofold._PLACES[name]
    module, _, inner = place.partition(":")
    assert getattr(twofold, name) is getattr(import_module(f"twofold.{module}"), inner)
    assert getattr(twofold, name).__doc__


def test_the_type_checker_sees_the_same_names():
    seen = {}
    for node in ast.walk(ast.parse(Path("src/twofold/__init__.py").read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twofold."):
            for alias in node.names:
                seen[alias.asname or alias.name] = f"{node.module.removeprefix('twofold.')}:{alias.name}"
    assert seen == twofold._PLACES
    assert sorted(seen) == sorted(twofold.__all__)


def test_what_is_not_there_is_said_as_python_says_it():
    with pytest.raises(AttributeError, match=r"^module 'twofold' has no attribute 'convolve'$"):
        twofold.convolve  # noqa: B018


def test_the_package_alone_imports_nothing():
    run(CLEAN)


def test_importing_every_module_changes_no_global_state():
    assert int(run(EVERYTHING, *FOLDERS)) > 180


def test_quantizing_changes_no_global_state():
    from twofold.train.data import load_data
    from twofold.train.models import build_model
    from twofold.train.pipelines import float_model
    from twofold.train.recipe import TrainSettings

    data = load_data("digits")
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    float_model(data, settings=TrainSettings(epochs=1, steps=1))
    assert torch.equal(torch.get_rng_state(), random)
    with torch.random.fork_rng():
        model = build_model("demo").eval()
    config = twofold.load_config("subset_8x8")
    quantized = twofold.convert(model, twofold.load_recipe("subset_w4a8"), data.input)
    twofold.calibrate(quantized, data.train_x[:64])
    twofold.snap(quantized, config)
    twofold.export(quantized, config)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)

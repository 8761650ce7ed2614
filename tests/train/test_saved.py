"""A quantized model in a file: it computes as before, and no damaged or foreign file is taken."""

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import nn

from tests.support.mutations import SPECIAL, VALUES, check, mutations
from tests.train.test_own_loop import FORM, network
from twofold import load_config, load_model, load_recipe, save_model
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.hooks import QuantTraining
from twofold.train.layers import QuantModel
from twofold.train.saved import KEY
from twofold.train.snap import snap
from twofold.train.tensor_file import sign

PAGE = Path("docs/training.md").read_text(encoding="utf-8")
X = torch.randint(-128, 128, (16, 3, 6, 6), generator=torch.Generator().manual_seed(1)) / 64


def quantized(name, *, form=FORM, training=False):
    model = convert(network(), load_recipe(name), form, training=training)
    calibrate(model, X)
    return model


@pytest.mark.parametrize("name", ["subset_w4a8", "stlq_w3a4_r10", "attention_minmax_w2a2", "po2_gradient_w4a8"])
def test_a_model_comes_back_and_computes_the_same(name, tmp_path):
    model = quantized(name).eval()
    save_model(tmp_path / "new" / "mine.safetensors", model, load_recipe(name))
    back = load_model(tmp_path / "new" / "mine.safetensors", network(1))
    assert not back.training and back.calibrated and back.recipe == name
    assert torch.equal(back(X), model(X))
    assert {key: value.tolist() for key, value in back.state_dict().items()} == {
        key: value.tolist() for key, value in model.state_dict().items()
    }
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.safetensors"]


def test_a_model_that_comes_back_exports_the_same_integers(tmp_path):
    config, model = load_config("subset_16x16"), quantized("subset_w4a8")
    snap(model, config)
    save_model(tmp_path / "mine.safetensors", model, load_recipe("subset_w4a8"))
    back = load_model(tmp_path / "mine.safetensors", network(1))
    wanted, found = export(model, config), export(back, config)
    for one, other in zip(wanted.layers, found.layers, strict=True):
        assert (one.bias.tolist(), one.multiplier.tolist()) == (other.bias.tolist(), other.multiplier.tolist())
        assert one.branches[0].codes.tolist() == other.branches[0].codes.tolist()
    assert found.point_sets == wanted.point_sets


def test_a_trained_model_is_saved_when_its_training_has_ended(tmp_path):
    recipe, model = load_recipe("lsq_w3a3"), quantized("lsq_w3a3", training=True)
    file = tmp_path / "mine.safetensors"
    with QuantTraining(model, steps=2) as training:
        optimizer = torch.optim.Adam(training.groups(), lr=1e-2)
        for part in X.split(8):
            with training.step(optimizer):
                F.cross_entropy(model(part), torch.arange(8) % 4).backward()
        with pytest.raises(
            ValueError, match=r"^Model 'sequential' must have its batch norms folded before it is saved"
        ):
            save_model(file, model, recipe)
    assert not file.exists()
    save_model(file, model, recipe)
    assert torch.equal(load_model(file, network(1))(X), model(X))


def test_a_scale_of_the_input_that_was_calibrated_comes_back(tmp_path):
    model = quantized("lsq_w3a3", form=InputFormat((3, 6, 6), 8, True)).eval()
    save_model(tmp_path / "mine.safetensors", model, load_recipe("lsq_w3a3"))
    back = load_model(tmp_path / "mine.safetensors", network(1))
    assert back.input_format == model.input_format and back.input_format.scale is not None
    assert back.given_input == InputFormat((3, 6, 6), 8, True)


def test_features_stay_features(tmp_path):
    float_model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    model = convert(float_model, load_recipe("subset_w4a8"), InputFormat((5,), 8, True, 1 / 64))
    x = X.flatten()[:40].view(8, 5)
    calibrate(model, x)
    save_model(tmp_path / "mine.safetensors", model.eval(), load_recipe("subset_w4a8"))
    assert torch.equal(load_model(tmp_path / "mine.safetensors", float_model)(x), model(x))


def test_the_page_saves_and_loads(tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(from twofold import load_model.+?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"quantized": quantized("lsq_w3a3").eval(), "model": network(1)}
    wanted = names["quantized"](X)
    exec(block, names)
    assert torch.equal(names["quantized"](X), wanted)


def test_what_cannot_be_saved(tmp_path):
    file, recipe = tmp_path / "mine.safetensors", load_recipe("lsq_w3a3")
    fresh, model = convert(network(), recipe, FORM), quantized("lsq_w3a3")
    by_hand = QuantModel(list(model.layers), (3, 6, 6), model.input_quantizer, heads=model.heads)
    for given, stated, path, message in (
        (fresh, recipe, file, "Model 'sequential' must be calibrated before it is saved"),
        (by_hand, recipe, file, "Model 'network' must come from convert, not be put together by hand"),
        (model, load_recipe("lsq_w4a4"), file, "Recipe must be the model's, 'lsq_w3a3', not 'lsq_w4a4'"),
        (model, recipe, tmp_path / "a.pt", f"Model must be a file '.safetensors', not '{tmp_path}/a.pt'"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            save_model(path, given, stated)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def file(tmp_path):
    save_model(tmp_path / "mine.safetensors", quantized("stlq_w3a4_r10"), load_recipe("stlq_w3a4_r10"))
    return tmp_path / "mine.safetensors"


def header_of(file):
    data = file.read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return json.loads(metadata[KEY]), load(data)


def put(file, header, tensors):
    file.write_bytes(save(tensors, metadata=sign(header, tensors, KEY)))


def test_a_write_that_fails_leaves_the_older_file(file, monkeypatch):
    before = b"an older one"
    file.write_bytes(before)

    def full(path, data):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(file, quantized("stlq_w3a4_r10"), load_recipe("stlq_w3a4_r10"))
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def test_wrong_files_are_refused(file, tmp_path):
    data = file.read_bytes()
    header, tensors = header_of(file)
    with pytest.raises(
        ValueError, match=r"mine.safetensors: tensors must be those of the given model, not these: Error"
    ):
        load_model(file, network(outputs=5))
    with pytest.raises(FileNotFoundError, match=r"^Model must be a file, not '.*gone.safetensors'$"):
        load_model(tmp_path / "gone.safetensors", network())
    put(file, header | {"version": 2}, tensors)
    with pytest.raises(ValueError, match=r"mine.safetensors: version must be 1, not 2$"):
        load_model(file, network())
    unknown = json.loads(json.dumps(header).replace('"stlq"', '"mine"'))
    put(file, unknown, tensors)
    with pytest.raises(ValueError, match=r"mine.safetensors: .*weight.quantizer must be one of \(.*\), not 'mine'$"):
        load_model(file, network())
    put(file, header, {name: tensor for name, tensor in tensors.items() if not name.endswith("bias")})
    with pytest.raises(ValueError, match=r"tensors must be those of the given model, not these: .*Missing key"):
        load_model(file, network())
    for wrong in (b"", data[:100], data[:-1], data[:-5] + b"12345", save(tensors)):
        file.write_bytes(wrong)
        assert not check(file, lambda: load_model(file, network()))


def test_every_wrong_value_of_a_header_is_refused_or_does_no_harm(file):
    header, tensors = header_of(file)
    float_model, loaded = network(), 0
    for changed in mutations(header, 5, 150, VALUES + SPECIAL):
        put(file, changed, tensors)
        loaded += check(file, lambda: load_model(file, float_model))
    assert 0 < loaded < 75

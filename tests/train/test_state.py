"""States of trainings: damaged ones, those with impossible contents, and full disks give one error."""

import errno
import json
import os
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from tests.support.mutations import SPECIAL, VALUES, check, mutations
from twofold.train.checkpoint import KEY, LoopState, load_state, read_progress, save_state
from twofold.train.convert import calibrate, convert
from twofold.train.data import load_data
from twofold.train.loop import _optimizers
from twofold.train.models import build_model
from twofold.train.recipe import TrainSettings, load_recipe
from twofold.train.run_files import STATE
from twofold.train.tensor_file import sign

RECIPES = Path(__file__).parents[2] / "recipes"
FACTS = {"settings": {"epochs": 3}, "stage": 1, "weights": "x"}


class Case:
    """A quantized training and its state."""

    def __init__(self, folder):
        data, recipe = load_data("digits"), load_recipe(RECIPES / "stlq_w3a4_r10.toml")
        torch.manual_seed(0)
        self.model = convert(build_model("demo").eval(), recipe, data.input, training=True)
        calibrate(self.model, data.train_x[:32])
        self.optimizers = _optimizers(self.model, TrainSettings(v_lr=0.1))
        self.model(data.train_x[:32]).sum().backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.after_step()
        self.file, self.generator = folder / STATE, torch.Generator()
        self.save()

    def save(self):
        reached = LoopState(1, 2, 0.5, 7)
        save_state(self.file, self.model, self.optimizers, self.generator, reached, FACTS, "digest")

    def load(self):
        return load_state(self.file, self.model, self.optimizers, self.generator, FACTS)

    def read(self):
        read_progress(self.file)
        self.load()


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case(tmp_path_factory.mktemp("state"))


def contents(case):
    data = case.file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return data, json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["state"]), load(data)


def test_every_wrong_value_of_a_state_is_refused_or_does_no_harm(case):
    data, header, tensors = contents(case)
    loaded = 0
    # The digest is right: it is what the header says that is wrong.
    for changed in mutations(header, 5, 300, VALUES + SPECIAL):
        case.file.write_bytes(save(tensors, metadata=sign(changed, tensors, KEY)))
        loaded += check(case.file, case.read)
    assert 0 < loaded < 150
    case.file.write_bytes(data)
    assert vars(case.load())["epoch"] == 1


def test_every_wrong_tensor_of_a_state_is_refused(case):
    data, header, tensors = contents(case)
    names = [name for name in tensors if not name.startswith("model.") or name.endswith(("scale", "bias"))]
    for name in names:
        for wrong in (tensors[name].new_zeros(3, 5), None):
            changed = tensors | {name: wrong}
            changed = {key: value for key, value in changed.items() if value is not None}
            case.file.write_bytes(save(changed, metadata=sign(header, changed, KEY)))
            assert not check(case.file, case.read), name
    case.file.write_bytes(data)
    case.load()


def test_octaves_are_those_of_the_scales(case):
    """A state is read back after any step, however far; what its header says of an octave changes nothing."""
    data, (base,) = contents(case)[0], case.model.bases
    tied = [quantizer for group in case.model.tied() for quantizer in group.values()]
    tied[1].octave = -3
    for gradient in (-3.7, 0.013, 1e9):
        base.grad = torch.full_like(base, gradient)
        case.optimizers[0].step()
        case.model.after_step()
        case.save()
        _, header, tensors = contents(case)
        for values in header["quantizers"]:
            values |= {key: value + 5 for key, value in values.items() if key == "octave"}
        case.file.write_bytes(save(tensors, metadata=sign(header, tensors, KEY)))
        kept = base.item()
        base.data.fill_(1.0)
        case.load()
        assert base.item() == kept and [quantizer.octave for quantizer in tied] == [0, -3]
        assert tied[1].scale.item() == kept / 8
    case.file.write_bytes(data)
    case.load()


def test_every_flipped_bit_of_a_state_is_found(case):
    data, _, _ = contents(case)
    rng = random.Random(3)
    for _ in range(100):
        place = rng.randrange(len(data))
        case.file.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        assert not check(case.file, case.read), place
    case.file.write_bytes(data)
    case.load()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path = tmp_path / STATE
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1)
    for read in (read_progress, lambda path: load_state(path, nn.Linear(1, 1), [optimizer], torch.Generator(), {})):
        with pytest.raises(ValueError, match="file must be a regular file, not a folder, pipe or device"):
            read(path)


def test_a_full_disk_leaves_the_older_state(tmp_path, monkeypatch):
    model = nn.Linear(2, 2)
    optimizers = [torch.optim.SGD(model.parameters(), 0.1)]
    save_state(tmp_path / STATE, model, optimizers, torch.Generator(), LoopState(epoch=2), {})
    write = Path.write_bytes

    def full(path, content):
        write(path, content[:9])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_state(tmp_path / STATE, model, optimizers, torch.Generator(), LoopState(epoch=3), {})
    assert os.listdir(tmp_path) == [STATE]
    assert load_state(tmp_path / STATE, model, optimizers, torch.Generator(), {}).epoch == 2

"""Residual streams of more bits than convolutions read: which tensors, what they compute, and that it is exact."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.train.test_streams import FORM, Chain, images
from twofold.golden.config import load_config
from twofold.golden.layers import run
from twofold.golden.machine import execute
from twofold.golden.narrow import Narrow
from twofold.mapper.compiler import compile_network
from twofold.train import integer
from twofold.train.builds import check_build
from twofold.train.convert import calibrate, convert
from twofold.train.data import DataSet
from twofold.train.export import export
from twofold.train.loop import fit
from twofold.train.ptq import float_sums
from twofold.train.quantizers.residual_stream import StreamActivation
from twofold.train.recipe import ResidualSettings, TrainSettings, load_recipe
from twofold.train.saved import load_model, save_model
from twofold.train.snap import snap

BUILD = replace(load_config("log_4x4"), narrow_reads=True, weight_depth=1 << 15)


def recipe(name="ptq_l2_w4a8", bits=8, read=3, **settings):
    found = load_recipe(name)
    rules = tuple(
        replace(rule, activation=replace(rule.activation, bits=read)) if rule.match == "*" else rule
        for rule in found.rules
    )
    return replace(found, rules=rules, residual=ResidualSettings(bits=bits), train=replace(found.train, **settings))


def quantized(model=None, training=False, **changes):
    torch.manual_seed(1)
    found = convert((model or Chain)().eval(), recipe(**changes), FORM, training=training)
    calibrate(found, images(32))
    return found


def streams(model):
    found = {layer.name: layer.quantizer for layer in model.quant_layers}
    return {name: quantizer for name, quantizer in found.items() if isinstance(quantizer, StreamActivation)}


class Shortcuts(nn.Module):
    """A block that keeps its size, one that halves it and pads channels, an average, and logits."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(FORM.shape[0], 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.conv3 = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.conv4 = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(x + self.conv2(F.relu(self.conv1(x))))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        x = F.relu(short + self.conv4(F.relu(self.conv3(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Linear(Shortcuts):
    """The same without ReLU behind the sums: streams of both signs."""

    def forward(self, x):
        x = self.stem(x)
        x = x + self.conv2(F.relu(self.conv1(x)))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        x = short + self.conv4(F.relu(self.conv3(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def agree(model):
    """Integers of all implementations, and how far PyTorch's real numbers are from them, a layer at a time."""
    model.eval()
    snap(model, BUILD)
    network = export(model, BUILD)
    x = images(3)
    found = integer.run(network, network_input(network, x))
    plain = run(network, network_input(network, x).numpy())
    image = compile_network(network, BUILD)
    once = execute(image, network_input(network, x)[0].numpy())
    lifts = {layer.name: layer.quantizer.lift if layer.quantizer else 0 for layer in model.quant_layers}
    real = {"input": model.read(x)["input"]}
    for name, tensor in network.tensors.items():
        if name != "input":
            real[name] = (found[name] - lifts[name]).float() * tensor.scale
    off = {}
    for layer in model.quant_layers:
        assert np.array_equal(found[layer.name].numpy(), plain[layer.name])
        assert np.array_equal(plain[layer.name][0], once.tensors[layer.name])
        wanted = torch.round(layer(real) / network.tensors[layer.name].scale).long() + lifts[layer.name]
        difference = (wanted - found[layer.name]).abs()
        assert difference.max() <= 1, layer.name
        off[layer.name] = float((difference > 0).float().mean())
    return network, off


def network_input(network, x):
    return torch.round(x / network.input.scale).long().clamp(network.input.low, network.input.high)


@pytest.mark.parametrize(("kind", "signed"), [(Shortcuts, False), (Linear, True)])
@pytest.mark.parametrize("read", [2, 3, 4])
def test_streams_are_exact_in_all_implementations(kind, signed, read):
    model = quantized(kind, read=read)
    wide = streams(model)
    assert set(wide) == {"stem", "conv2", "conv4"}
    assert [wide[name].bits for name in wide] == [8, 8, 8]
    assert {layer.name for layer in model.conv_layers if layer.reader is not None} == {"conv1", "conv3"}
    network, off = agree(model)
    reads = {
        layer.name: branch.narrow for layer in network.layers for branch in layer.branches if branch.narrow is not None
    }
    assert set(reads) == {"conv1", "conv3"}
    for name, source in (("conv1", "stem"), ("conv3", "conv2")):
        assert reads[name] == wide[source].narrow and reads[name].bits == read and reads[name].signed == signed
        assert 5 - read <= reads[name].drop - 1 <= 7 - read
    # Only biases are rounded.
    assert max(off[name] for name in wide) < 0.1


def test_what_residuals_add_is_nearer_than_what_is_read():
    model, few = quantized(Shortcuts), quantized(Shortcuts, bits=0)
    floating = quantized(Shortcuts)
    floating.enable(False)
    x = images(16)
    wanted = floating.trace(x)
    for name in ("stem", "conv2"):
        near, far = ((one.trace(x)[name] - wanted[name]).square().sum() for one in (model, few))
        assert near < far / 4
    assert few.conv_layers[1].reader is None and not streams(few)


def test_reading_rounds_halves_up_and_clips():
    quantizer = StreamActivation(bits=8, read_bits=3, signed=False)
    quantizer.scale.data.fill_(0.25)
    quantizer.drop.fill_(4)
    assert quantizer.narrow == Narrow(4, 3, False) and quantizer.lift == 8 and quantizer.high == 247
    stream = quantizer(torch.tensor([-1.0, 0.0, 1.75, 2.0, 5.9, 6.0, 30.0, 99.0]))
    assert stream.tolist() == [0, 0, 1.75, 2.0, 6.0, 6.0, 30.0, 61.75]
    # Steps of 4: 2.0 and 6.0 are halves.
    assert quantizer.read(stream).tolist() == [0, 0, 0, 4.0, 8.0, 8.0, 28.0, 28.0]
    quantizer.enabled = False
    assert quantizer.read(stream) is stream


def test_a_limit_is_that_of_the_real_numbers():
    quantizer = StreamActivation(bits=8, read_bits=3, signed=False, limit=6.0)
    quantizer.scale.data.fill_(0.0625)
    quantizer.drop.fill_(4)
    assert (quantizer.high, quantizer.lift) == (96, 8)
    assert quantizer(torch.tensor([5.97, 7.0])).tolist() == [6.0, 6.0]
    quantizer.scale.data.fill_(0.02)
    assert quantizer.high == 247


def test_every_number_of_a_stream_is_read_as_the_machine_does():
    for signed in (False, True):
        for scale in (0.25, 0.1, 0.0371):
            quantizer = StreamActivation(bits=8, read_bits=3, signed=signed)
            quantizer.scale.data.fill_(scale)
            for drop in range(6):
                quantizer.drop.fill_(drop)
                numbers = torch.arange(quantizer.low, quantizer.high + 1)
                step = 1 << drop
                raised = (numbers + quantizer.lift).numpy()
                read = quantizer.read(numbers * torch.tensor(scale)) / (scale * step)
                assert torch.round(read).long().tolist() == (quantizer.narrow.of(raised) // step).tolist()


def test_the_scale_is_trained_by_what_is_read():
    quantizer = StreamActivation(bits=8, read_bits=3, signed=False)
    quantizer.scale.data.fill_(0.25)
    quantizer.drop.fill_(4)
    quantizer.scale.requires_grad_(True)
    assert not quantizer(torch.rand(1, 4)).requires_grad
    quantizer.read(torch.tensor([[1.0, 5.0, 60.0, 13.0]])).sum().backward()
    # LSQ of steps of 4 (16 LSBs), of what is half an LSB above: (0 - 1.125), (4 - 5.125), 28, (12 - 13.125), each / 4.
    wanted = ((0 - 1.125) + (4 - 5.125) + 28 + (12 - 13.125)) / 4 * 16 / np.sqrt(4 * 7)
    assert quantizer.scale.grad.item() == pytest.approx(wanted, rel=1e-5)


def test_training_copies_and_files_keep_the_stream(tmp_path):
    model = quantized(Shortcuts, training=True, name="lsq_w3a3_distilled")
    assert model.bases[0].requires_grad is False
    data = DataSet("made", images(64), torch.arange(64) % 4, images(8), torch.arange(8) % 4, FORM, 4)
    before = float(model.bases[0])
    fit(model, data, TrainSettings(epochs=1, batch=16, lr=0.01, optimizer="sgd", settle=0.0))
    assert float(model.bases[0]) != before
    model.fold()
    other = copy.deepcopy(model)
    x = images(4)
    assert torch.equal(model(x), other(x))
    reader = other.conv_layers[1].reader
    assert reader is other.conv_layers[0].quantizer and reader is not model.conv_layers[0].quantizer
    save_model(tmp_path / "mine.safetensors", model, recipe("lsq_w3a3_distilled"))
    again = load_model(tmp_path / "mine.safetensors", Shortcuts())
    assert torch.equal(again(x), model(x))


def test_bits_of_stages_are_those_that_are_read():
    quantizer = StreamActivation(bits=8, read_bits=3, signed=False)
    quantizer.drop.fill_(4)
    scale = float(quantizer.scale)
    assert quantizer.set_bits(4)
    assert quantizer.narrow == Narrow(3, 4, False) and float(quantizer.scale) == scale
    assert quantizer.set_bits(0)
    assert quantizer.narrow == Narrow(4, 3, False) and float(quantizer.scale) == scale


def test_what_a_stream_cannot_be_stays_as_it_is():
    class Maximum(Shortcuts):
        def forward(self, x):
            x = F.relu(self.stem(x))
            y = F.max_pool2d(x, 2)
            x = F.relu(x + self.conv2(F.relu(self.conv1(x))))
            x = F.relu(self.conv3(x))
            return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1)) + self.head(
                F.adaptive_avg_pool2d(torch.cat([y, y], 1), 1).flatten(1)
            )

    model = quantized(Maximum)
    assert "stem" not in streams(model) and "conv2" in streams(model)
    agree(model)


def test_a_quantizer_of_another_kind_is_refused_by_name():
    with pytest.raises(ValueError) as error:
        convert(Shortcuts().eval(), replace(load_recipe("sigma_w3a3"), residual=ResidualSettings(bits=8)), FORM)
    assert str(error.value) == (
        "Layer 'stem': activation quantizer must be 'lsq' where residual.bits is set, not SigmaActivation"
    )


def test_post_training_compares_with_all_that_the_stream_holds():
    torch.manual_seed(1)
    model = convert(Shortcuts().eval(), recipe("sq_w4a4", read=4), FORM)
    plain = convert(Shortcuts().eval(), recipe("sq_w4a4", bits=0, read=4), FORM)
    x = images(32)
    for one in (model, plain):
        one.load_state_dict(model.state_dict(), strict=False)
    tensors = {"input": x.reshape(len(x), *FORM.shape)}
    for layer, other in zip(model.quant_layers, plain.quant_layers, strict=True):
        wanted = float_sums(other, tensors)
        assert torch.equal(float_sums(layer, tensors), wanted), layer.name
        tensors[layer.name] = layer.activate(wanted)
    assert all(quantizer.enabled for quantizer in model.quantizers())


def test_a_build_without_narrow_reads_is_refused_before_training():
    model, plain = quantized(Shortcuts), replace(BUILD, narrow_reads=False)
    message = "Layer 'conv1': narrow_reads of the build must be true to read 3 bits of more, not false"
    with pytest.raises(ValueError) as error:
        export(model, plain)
    assert str(error.value) == message
    with pytest.raises(ValueError) as error:
        check_build(model, plain)
    assert str(error.value).startswith(f"{message}. Build 'log_4x4' does not take the network. Take one of ")
    assert "stream_log_16x16" in str(error.value) and "/log_16x16" not in str(error.value)
    check_build(model, BUILD)


@pytest.mark.parametrize("bits", [-1, 1, 2, 9])
def test_impossible_bits_are_refused(bits):
    with pytest.raises(ValueError, match=f"residual.bits must be 0 or 3 to 8, not {bits}"):
        ResidualSettings(bits=bits)

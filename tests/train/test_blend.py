"""The one-pass mixture of activations is what its members give one by one, forward and backward."""

import sysconfig
from pathlib import Path

import pytest
import torch

from twofold.train.quantizers import blend, build_activation, fused
from twofold.train.quantizers.mixture import Mixture


def mixture(member, signed):
    torch.manual_seed(0)
    quantizer = build_activation(
        "attention", bits=2, signed=signed, calibration="mse", limit=None, member=member, more_bits=(4, 8)
    )
    quantizer.calibrate(torch.randn(500) if signed else torch.randn(500).abs())
    quantizer.train()
    quantizer.begin()
    quantizer.heat.fill_(0.5)
    for part in (quantizer, *quantizer.parts):
        for parameter in part.trained():
            parameter.requires_grad_(True)
    return quantizer


def results(quantizer, x, target):
    """Output and every gradient, and the scales afterwards."""
    x = x.clone().requires_grad_(True)
    y = quantizer(x)
    ((y - target) ** 2).sum().backward()
    found = {"y": y.detach(), "x": x.grad}
    for name, parameter in quantizer.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad.clone()
            parameter.grad = None
    return found | {f"scale{k}": part.scale.detach().clone() for k, part in enumerate(quantizer.parts)}


@pytest.mark.parametrize("size", [(7, 3, 5, 5), (40, 5, 19, 19)], ids=["one block", "several blocks"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("member", ["pact", "minmax"])
def test_it_is_what_the_members_give(member, signed, size, monkeypatch):
    generator = torch.Generator().manual_seed(2)
    x, target = 1.5 * torch.randn(size, generator=generator), torch.randn(size, generator=generator)
    assert (x.numel() > blend.BLOCK) == (size[0] == 40)
    fused = results(mixture(member, signed), x, target)
    called = []
    monkeypatch.setattr("twofold.train.quantizers.mixture.blend_rounded", lambda *rest: called.append(1))
    slow = mixture(member, signed)
    monkeypatch.setattr(slow, "mix", lambda x: Mixture.mix(slow, x))
    wanted = results(slow, x, target)
    assert not called
    assert set(fused) == set(wanted) and "alpha" in fused
    assert ("members.0.alpha" in fused) == (member == "pact")
    for name, value in wanted.items():
        torch.testing.assert_close(fused[name], value, rtol=2e-4, atol=2e-4 * float(value.abs().max()), msg=name)
        assert value.abs().max() > 0


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("member", ["pact", "minmax"])
def test_the_compiled_loop_is_what_blocks_give(member, signed, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    x, target = 1.5 * torch.randn(64, 3, 11, generator=generator), torch.randn(64, 3, 11, generator=generator)
    wanted = results(mixture(member, signed), x, target)
    called = []
    pair = tuple(lambda *rest, part=part: called.append(1) or part(*rest) for part in (fused.mix, fused.gradients))
    monkeypatch.setattr(blend, "functions", lambda x: pair)
    found = results(mixture(member, signed), x, target)
    assert called == [1, 1] and set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=2e-4, atol=2e-4 * float(value.abs().max()), msg=name)


def test_the_loop_compiles():
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        pytest.skip("PyTorch compiles only where Python's headers are")
    pair = fused.compiled()
    assert pair is not None  # a C++ compiler is there, since the simulators need it
    for size in (fused.LEAST, fused.LEAST + 5):
        x = torch.randn(size, generator=torch.Generator().manual_seed(size))
        assert fused.functions(x) == pair and fused.functions(x[1:].clone()[: fused.LEAST - 1]) is None
        scales, shares = torch.tensor([0.5, 0.1, 0.01]), torch.tensor([0.2, 0.3, 0.5])
        ends = torch.tensor([-2.0, -8.0, 0.0]), torch.tensor([1.0, 7.0, 255.0])
        assert torch.equal(pair[0](x, scales, shares * scales, *ends), fused.mix(x, scales, shares * scales, *ends))
        rest = (x.flip(0), scales, shares, *ends)
        for one, other in zip(pair[1](x, *rest), fused.gradients(x, *rest), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_without_a_compiler_there_are_blocks(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert fused.compiled.__wrapped__() is None


def test_only_the_input_is_kept():
    quantizer, x = mixture("pact", False), torch.randn(64, 64, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        quantizer(x)
    assert sum(count >= x.numel() for count in kept) == 1


def test_other_members_are_mixed_one_by_one(monkeypatch):
    monkeypatch.setattr(
        "twofold.train.quantizers.mixture.blend_rounded", lambda *rest: pytest.fail("This is not for LSQ")
    )
    x = torch.randn(64)
    quantizer = mixture("lsq", False)
    shares = quantizer.shares()
    wanted = sum(share * part(x) for share, part in zip(shares, quantizer.parts, strict=True))
    assert torch.equal(quantizer(x), wanted)


def test_it_does_the_relu():
    """Negative values become 0 and have no gradient, as after a ReLU."""
    for member in ("pact", "minmax"):
        quantizer = mixture(member, False)
        assert quantizer.clips_negatives and not mixture(member, True).clips_negatives
        x = torch.tensor([-3.0, -0.1, 0.4], requires_grad=True)
        quantizer(x).sum().backward()
        assert x.grad[:2].tolist() == [0, 0] and x.grad[2] > 0.9
        assert quantizer(x)[:2].tolist() == [0, 0]
        quantizer.enabled = False
        assert not quantizer.clips_negatives

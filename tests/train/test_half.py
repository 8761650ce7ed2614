"""Weights and activations of half precision are decided on in float32."""

import pytest
import torch

from twofold.golden import catalog
from twofold.train.quantizers import build_activation, build_quantizer
from twofold.train.quantizers.base import WeightQuantizer

SHAPE = (4, 4, 3, 3)
MEMBERS = ({"quantizer": "sawb", "bits": 2}, {"quantizer": "minmax", "bits": 4})
KINDS = {
    "apot": {"bits": 3},
    "attention": {"members": MEMBERS},
    "binary": {},
    "deepshift": {"bits": 3},
    "lsq": {"bits": 3},
    "minmax": {"bits": 3},
    "po2_gradient": {"bits": 3},
    "po2_msqe": {"bits": 3},
    "relax": {"members": MEMBERS},
    "sawb": {"bits": 3},
    "sigma": {"bits": 3},
    "stlq": {"bits": 3, "ratio": 0.25, "unit": "element"},
    "subset": {"bits": 3},
    "ternary": {},
    "uniform": {"bits": 3},
}


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", KINDS)
def test_half_weights_are_rounded_as_their_float32_values_are(name, kind):
    weight = (torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) / 10).to(kind)
    results = []
    for given in (weight, weight.float()):
        quantizer: WeightQuantizer = build_quantizer(name, SHAPE, **KINDS[name])
        quantizer.calibrate(given)
        results.append((quantizer.train()(given), quantizer.scale, quantizer.eval()(given)))
        quantizer.enabled = False
        assert quantizer(given) is given
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_half_weights_have_the_codes_of_their_float32_values():
    weight = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).bfloat16()
    quantizer = build_quantizer("sawb", SHAPE, bits=3)
    quantizer.calibrate(weight)
    coded = [quantizer.encode(given, catalog.log_format(3)) for given in (weight, weight.float())]
    assert (coded[0].integers == coded[1].integers).all()


@pytest.mark.parametrize("name", ["lsq", "minmax", "pact", "po2", "sigma"])
def test_half_activations_are_rounded_as_their_float32_values_are(name):
    x = torch.randn(8, 4, 9, 9, generator=torch.Generator().manual_seed(0)).bfloat16() * 50
    results = []
    for given in (x, x.float()):
        quantizer = build_activation(name, bits=3, signed=True)
        quantizer.calibrate(given)
        results.append([quantizer.train()(given) for _ in range(20)][-1])
    assert torch.equal(*results)

from dataclasses import replace

import numpy as np
import pytest

from twofold.golden.config import ArrayConfig
from twofold.golden.image import (
    Image,
    ImageLayer,
    PlacedTensor,
    input_frame,
    pack_tensor,
    read_output,
    read_outputs,
    unpack_tensor,
)
from twofold.golden.input_layout import InputLayout
from twofold.golden.isa import End, Output, Section
from twofold.golden.machine import Machine
from twofold.golden.network import Tensor

CONFIG = ArrayConfig(name="tiny", pe="log", rows=2, cols=2, word_bits=3, act_bits=5)
INPUT = PlacedTensor(Tensor((3, 1, 2), 4, True, 0.5), 6)
OUTPUT = PlacedTensor(Tensor((3, 1, 2), 5, False, 0.25), 2)
SPENT = {"array": 4, "load": 3, "drain": 1, "requantiser": 1, "fetch": 1, "memory": 0, "start": 0}
WORK = {"useful": 1, "idle": 2, "words": 1, "constants": 0}


#: Windows of 1x2, one zero on the left.
LAYOUT = InputLayout(kernel=(1, 2), stride=(1, 1), padding=(0, 1), dilation=(1, 1), size=(1, 2))


def image(layout: InputLayout | None = None) -> Image:
    layers = (
        ImageLayer("one", "conv2d", 0, 3, 5, 10, SPENT, WORK, 12, 9, INPUT),
        ImageLayer("two", "linear", 4, 6, 7, 20, SPENT, WORK, 100, 11, OUTPUT),
    )
    program = (Output(address=2, count=3).encode(CONFIG), End().encode(CONFIG))
    return Image(CONFIG, "net", program, (1, 2), (3,), (), (), layers, replace(INPUT, layout=layout), (OUTPUT,), 40)


X = np.array([[[1, -2]], [[3, 4]], [[-5, -8]]])


def test_a_tensor_lies_in_planes_of_lines():
    # Lane 0 in the low 5 bits; the second plane has one channel.
    lines = [1 | 3 << 5, 30 | 4 << 5, 27, 24]
    assert pack_tensor(CONFIG, X) == lines
    np.testing.assert_array_equal(unpack_tensor(CONFIG, lines, INPUT.tensor), X)
    assert unpack_tensor(CONFIG, lines, OUTPUT.tensor).tolist() == [[[1, 30]], [[3, 4]], [[27, 24]]]
    assert INPUT.lines(CONFIG) == 4


@pytest.mark.parametrize("rows", [2, 8, 64])
@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_unpack_is_the_reverse_of_pack(rows, bits, signed):
    config = ArrayConfig(name="any", pe="log", rows=rows, cols=2, word_bits=3, act_bits=bits)
    tensor = Tensor((13, 3, 5), bits, signed, 1.0)
    x = np.random.default_rng(bits).integers(tensor.low, tensor.high + 1, tensor.shape)
    np.testing.assert_array_equal(unpack_tensor(config, pack_tensor(config, x), tensor), x)


def test_input_frame_writes_the_input_where_it_belongs():
    beats = input_frame(image(), X)
    assert beats[2:8] == [Section.FEATURE << 24 | 4, 6, 1 | 3 << 5, 30 | 4 << 5, 27, 24]
    assert len(beats) == 10


def test_a_folded_input_lies_as_the_layout_says():
    folded = image(LAYOUT)
    assert (folded.input.lines(CONFIG), folded.used_lines(Section.FEATURE)) == (6, 12)
    assert folded.input.stored == replace(INPUT.tensor, shape=(6, 1, 2))
    # A plane a channel, (left, here) in the lanes: (0, 1) and (1, -2), (0, 3) and (3, 4), (0, -5) and (-5, -8).
    lines = [1 << 5, 1 | 30 << 5, 3 << 5, 3 | 4 << 5, 27 << 5, 27 | 24 << 5]
    assert input_frame(folded, X)[2:10] == [Section.FEATURE << 24 | 6, 6, *lines]


def test_the_model_reads_a_folded_input_as_it_is_stored():
    machine = Machine(CONFIG)
    machine.write(input_frame(image(LAYOUT), X))
    assert machine.read(image(LAYOUT).input).reshape(6, 2).tolist() == [
        *([0, 1], [1, -2], [0, 3], [3, 4], [0, -5], [-5, -8]),
    ]


def test_read_output_takes_the_frame_of_the_output_stream():
    assert read_output(image(), [1 | 2 << 5, 3, 31, 0]).tolist() == [[[1, 3]], [[2, 0]], [[31, 0]]]
    two = replace(image(), outputs=(INPUT, OUTPUT))
    beats = [1 | 2 << 5, 3, 31, 0]
    assert [tensor.tolist() for tensor in read_outputs(two, [beats, beats])] == [
        [[[1, 3]], [[2, 0]], [[-1, 0]]],
        [[[1, 3]], [[2, 0]], [[31, 0]]],
    ]
    with pytest.raises(ValueError, match=r"^Output must be 2 frames, not 1$"):
        read_outputs(two, [beats])
    with pytest.raises(ValueError) as caught:
        read_output(image(), [1, 2, 3])
    assert str(caught.value) == "Output must be 4 beats, not 3"


@pytest.mark.parametrize("layout", [None, LAYOUT])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X.astype(float), TypeError, "Input must be integers, not float64"),
        (X[:2], ValueError, "Input must be of shape (3, 1, 2), not (2, 1, 2)"),
        (X + 4, ValueError, "Input must be -8 to 7, not 8"),
        (X - 1, ValueError, "Input must be -8 to 7, not -9"),
    ],
)
def test_impossible_inputs_are_refused(x, error, message, layout):
    with pytest.raises(error) as caught:
        input_frame(image(layout), x)
    assert str(caught.value) == message


def test_totals():
    one = image()
    assert (one.passes, one.macs, one.acc_bits) == (12, 112, 11)
    assert one.utilisation() == 112 / 160
    assert one.utilisation(one.layers[0]) == 12 / 40
    assert one.instructions == (Output(address=2, count=3), End())

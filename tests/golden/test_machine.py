"""Small programs against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from twofold.golden.config import ArrayConfig
from twofold.golden.frame import FrameError, frame
from twofold.golden.image import PlacedTensor, pack_tensor
from twofold.golden.isa import Channel, Digit, Drain, End, Opcode, Output, Pass, Section, Sync, Window
from twofold.golden.machine import Machine, StoppedError
from twofold.golden.network import Tensor
from twofold.golden.registers import Error
from twofold.golden.transfers import Transfer, entry_beats

LOG = ArrayConfig(
    name="hand", pe="log", rows=2, cols=2, word_bits=3, acc_width=24, acc_depth=8, feature_depth=32, weight_depth=16
)
SUBSET = ArrayConfig(
    name="hand", pe="subset", rows=2, cols=2, word_bits=3, acc_width=24, acc_depth=8, feature_depth=32, point_sets=2
)
# Codes of 3-bit log words: 0, +1, +2, +4, then the same negative.
ZERO, ONE, TWO, FOUR, MINUS_ONE, MINUS_TWO = 0, 1, 2, 3, 5, 6
# What their products hold besides: 1023, less 255 times a positive weight. So 1023, 768, 513, 3, and 1023 if negative.


def column(config, *codes):
    return sum(code << (lane * config.fmt.code_bits) for lane, code in enumerate(codes))


def channel(config, bias, multiplier, right):
    """A channel line; the multiplier is given as (sign, shift) pairs."""
    digits = tuple(Digit(shift, int(sign < 0), on=1) for sign, shift in multiplier)
    return Channel(bias, digits, right).encode(config)


def window(width, height, in_width, in_height, step_x=1, step_y=1):
    return Window(
        width=width,
        height=height,
        in_width=in_width,
        in_height=in_height,
        step_x=step_x,
        step_y=step_y,
        row_step=step_y * in_width,
    )


def tile(**changes):
    return Pass.zero(**({"groups": 1, "first": 1, "row_mask": 3, "col_mask": 3} | changes))


def drain(**changes):
    operands = {"address": 16, "row_step": 1, "plane": 8, "lane": 0, "groups": 1, "channels": 0, "low": 0, "high": 255}
    return Drain(**(operands | changes))


END = End()
IDENTITY = [(1, 0)]


def loaded(config, program, weights, channels, x=None, points=()):
    machine = Machine(config)
    sections = [
        (Section.PROGRAM, 0, [instruction.encode(config) for instruction in program]),
        (Section.WEIGHT, 0, weights),
        (Section.CHANNEL, 0, channels),
        (Section.POINTS, 0, points),
    ]
    if x is not None:
        sections.append((Section.FEATURE, 0, pack_tensor(config, np.array(x))))
    machine.write(frame(config, [section for section in sections if section[2]]))
    return machine


def result(machine, shape, address=16, signed=False):
    return machine.read(PlacedTensor(Tensor(shape, 8, signed, 1.0), address)).tolist()


WEIGHTS = [column(LOG, TWO, MINUS_ONE), column(LOG, ZERO, FOUR)]
X = [[[3, 200]], [[5, 7]]]  # lane 0: 3, 200; lane 1: 5, 7


def test_a_pass_multiplies_and_a_drain_rounds_to_even():
    # Column 0: 2*3 - 5 = 1 and 2*200 - 7 = 393, 1536 more each, for a +2 and a -1: the bias takes it off.
    # Column 1: 4*5 = 20 and 4*7 = 28; (20 + 11) * 3 / 2 = 46.5 -> 46 and (28 + 11) * 3 / 2 = 58.5 -> 58.
    channels = [channel(LOG, -1536, IDENTITY, 0), channel(LOG, 11 - 1026, [(1, 2), (-1, 0)], 1)]
    machine = loaded(LOG, [window(2, 1, 2, 1), tile(), drain(), END], WEIGHTS, channels, X)
    run = machine.run()
    assert result(machine, (2, 1, 2)) == [[[1, 255]], [[46, 58]]]
    assert run.passes == 1
    assert run.frames == ()


def test_passes_add_shifted_sums_and_masks_leave_columns_and_lanes_alone():
    program = [
        window(2, 1, 2, 1),
        tile(),  # (1, 393), (20, 28)
        tile(first=0, shift=3, row_mask=1, col_mask=1),  # column 0: + (2*3 << 3), + (2*200 << 3)
        tile(first=1, row_mask=2, col_mask=2, weights=1, groups=0),  # column 1 keeps its old word: 4*5, 4*7
        drain(low=-128, high=127),
        END,
    ]
    channels = [channel(LOG, -9 * 1536, IDENTITY, 5), channel(LOG, -1026, IDENTITY, 0)]
    machine = loaded(LOG, program, WEIGHTS, channels, X)
    machine.run()
    # (1 + 48) / 32 = 1.53 -> 2; (393 + 3200) / 32 = 112.28 -> 112
    assert result(machine, (2, 1, 2), signed=True) == [[[2, 112]], [[20, 28]]]


def test_a_kept_tile_is_what_was_loaded_last_column_by_column():
    program = [
        window(2, 1, 2, 1),
        tile(weights=2),  # -1 and -2, 1 and 1 (masked from here on)
        tile(weights=0, groups=0),  # column 0 only: (1, 393); column 1 keeps 1 and 1: (8, 207)
        # Twice as much on top; what it says of a tile means nothing, not even a line beyond the memory.
        tile(kept=1, first=0, shift=1, weights=15, groups=1, set=0),
        drain(low=-128, high=127),
        END,
    ]
    ones = [column(LOG, MINUS_ONE, MINUS_TWO), column(LOG, ONE, ONE)]
    channels = [channel(LOG, -3 * 1536, IDENTITY, 4), channel(LOG, -3 * 1536, IDENTITY, 3)]
    machine = loaded(LOG, program, WEIGHTS + ones, channels, X)
    machine.run()
    # 3 * 1 / 16 -> 0, 3 * 393 / 16 = 73.7 -> 74; 3 * 8 / 8 = 3, 3 * 207 / 8 = 77.6 -> 78
    assert result(machine, (2, 1, 2), signed=True) == [[[0, 74]], [[3, 78]]]


def test_signed_activations_and_clip():
    # 128 more for a +2 and a -1, 512 for a +4.
    channels = [channel(LOG, -1536 - 128, IDENTITY, 0), channel(LOG, -1026 - 512, IDENTITY, 0)]
    x = [[[-3, 100]], [[-128, 7]]]
    program = [window(2, 1, 2, 1), tile(signed=1), drain(low=-100, high=50), END]
    machine = loaded(LOG, program, WEIGHTS, channels, x)
    machine.run()
    assert result(machine, (2, 1, 2), signed=True) == [[[50, 50]], [[-100, 28]]]  # 122, 193; -512, 28


def test_windows_stride_and_padding():
    # A 3x3 map, every second position of it shifted up and left by one: reads (-1,-1) (-1,1) (1,-1) (1,1).
    x = np.arange(1, 10).reshape(1, 3, 3)
    program = [window(2, 2, 3, 3, 2, 2), tile(address=(0 - 3 - 1) % 32, x=-1, y=-1, row_mask=1), drain(groups=0), END]
    machine = loaded(LOG, program, [column(LOG, ONE, ZERO), 0], [channel(LOG, -1791, IDENTITY, 0)], x)
    machine.run()
    assert result(machine, (1, 2, 2)) == [[[0, 0], [0, 5]]]


def test_a_maximum_ignores_what_is_out_of_bounds():
    x = [[[-3, -7, -5]], [[-1, -2, -90]]]
    weights = [column(LOG, TWO, ZERO), column(LOG, ZERO, MINUS_TWO)]
    program = [
        window(3, 1, 3, 1),
        tile(address=31, x=-1, signed=1, maximum=1),
        tile(address=0, x=0, signed=1, maximum=1, first=0),
        drain(low=-128, high=127),
        END,
    ]
    channels = [channel(LOG, -1536 - 256, IDENTITY, 0), channel(LOG, -2046 + 256, IDENTITY, 0)]
    machine = loaded(LOG, program, weights, channels, x)
    machine.run()
    # Column 0: 2 * max(-3), max(-3, -7), max(-7, -5); column 1: -2 * min(-1), min(-1, -2), min(-2, -90) clipped.
    assert result(machine, (2, 1, 3), signed=True) == [[[-6, -6, -10]], [[2, 4, 127]]]


CHAIN = ArrayConfig(
    name="chain", pe="log", rows=4, cols=4, word_bits=3, acc_width=24, acc_depth=8, feature_depth=32, weight_depth=16
)


def chain_sums(step, x, width):
    """Outputs of column 1, whose lane 1 carries `x` (2 rows) and whose words are -1, +2 and +4 from there down."""
    weights = [0, column(CHAIN, FOUR, ZERO, ZERO, ZERO), 0, 0]
    weights[1] = column(CHAIN, ZERO, MINUS_ONE, TWO, FOUR)
    program = [
        window(width, 2, 4, 2, step_x=step),
        tile(groups=3, chain=1, signed=1, x=-1, address=31, row_mask=0b0010, col_mask=0b1111),
        drain(groups=3, low=-128, high=127),
        END,
    ]
    # Constants: 2 * 1023 + 513 + 3, and 128 times the sum of the words.
    channels = [channel(CHAIN, bias, IDENTITY, 0) for bias in (0, -2562 - 128 * 5, 0, 0)]
    others = np.full((4, 2, 4), 77)
    others[1] = x
    machine = loaded(CHAIN, program, weights, channels, others)
    run = machine.run()
    return result(machine, (4, 2, width), signed=True)[1], run.cycles


def test_a_chain_pass_sums_three_neighbours_row_by_row():
    x = [[1, -2, 3, -4], [5, 6, -7, 8]]
    # 4 * the left neighbour + 2 * the position - the right one; padding is zero, and so is what a row began with.
    assert chain_sums(1, x, 4)[0] == [[4, -3, 2, 4], [4, 39, 2, -12]]
    assert chain_sums(2, x, 2)[0] == [[4, 2], [4, 2]]
    # Two rows of 6 or 5 positions.
    assert chain_sums(1, x, 4)[1] - chain_sums(2, x, 2)[1] == 2 * (6 - 5) + 4 * (8 - 4)


def test_accumulators_wrap():
    config = ArrayConfig(
        name="wrap", pe="log", rows=2, cols=2, word_bits=3, acc_width=12, acc_depth=8, feature_depth=32
    )
    weights = [column(config, FOUR, ZERO), 0]
    channels = [channel(config, 4096 - 3 * 1026, IDENTITY, 4), channel(config, 0, IDENTITY, 0)]
    program = [window(1, 1, 1, 1), tile(), tile(first=0, shift=1), drain(low=-128, high=127), END]
    machine = loaded(config, program, weights, channels, [[[255]]])
    machine.run()
    assert result(machine, (1, 1, 1), signed=True) == [[[-65]]]  # 3 * 1020 - 4096 = -1036; / 16 = -64.75 -> -65


def test_a_drain_changes_banks_and_an_inference_begins_with_the_first():
    channels = [0, channel(LOG, -1026, IDENTITY, 0), 0, channel(LOG, -2 * 1026, IDENTITY, 0)]
    program = [window(2, 1, 2, 1), tile(), drain(), tile(row_mask=1), drain(), tile(first=0), drain(channels=2), END]
    machine = loaded(LOG, program, WEIGHTS, channels, X)
    machine.run()
    assert result(machine, (2, 1, 2))[1] == [[40, 56]]  # twice 4*5 and 4*7: the second tile went to the other bank
    channels[1] = channel(LOG, -1026, IDENTITY, 3)
    machine = loaded(LOG, [window(2, 1, 2, 1), tile(first=0), drain(), END], WEIGHTS, channels, X)
    # 20 / 8 and 28 / 8, to even; then (40 + 1026) / 8 and (56 + 1026) / 8.
    for expected in ([2, 4], [133, 135]):
        machine.run()
        assert result(machine, (2, 1, 2))[1] == [expected]


def test_drain_fills_planes_and_output_sends_them():
    # Output channels 1 to 2 of 4: lane 1 of the first plane, which is not the tile's, stays.
    config = LOG
    weights = [column(config, ONE, ZERO), column(config, ZERO, ONE)]
    channels = [channel(config, -1791, IDENTITY, 0), channel(config, -1791, IDENTITY, 0)]
    program = [
        window(2, 2, 2, 2),
        tile(),
        drain(lane=1, plane=4, address=8),
        Output(address=8, count=7),
        END,
    ]
    x = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    machine = loaded(config, program, weights, channels, x)
    run = machine.run()
    assert run.frames == ((0x0100, 0x0200, 0x0300, 0x0400, 0x05, 0x06, 0x07, 0x08),)


def test_parts_of_rows_land_where_they_belong():
    weights = [column(LOG, ONE, ZERO), 0]
    part = {"address": 1, "x": 1}
    program = [window(2, 2, 3, 2), tile(**part), drain(address=17, row_step=2, groups=0), END]
    machine = loaded(LOG, program, weights, [channel(LOG, -1791, IDENTITY, 0)], np.arange(1, 7).reshape(1, 2, 3))
    machine.run()
    assert result(machine, (1, 2, 3)) == [[[0, 2, 3], [0, 5, 6]]]


def test_a_pass_names_its_point_set():
    # Universal set 5: A = 16, 8, 2, off; B = 16, 4, 1, off. A row is select A in the two low bits, B above.
    rows = [0b1111, 0b1011, 0b1101, 0b0010, 0b0000, 0b1010, 0b1100, 0b0111]  # 0, 1, 8, 18 and 32, 3, 16, 4
    weights = [column(SUBSET, 1, 2), column(SUBSET, 3, 4 | 0)]
    # Each product holds 4094 + 4095 besides, less 255 times a positive weight.
    biases = [(-16378 + 9 * 255, -16378 + 18 * 255), (-16378 + 19 * 255, -16378 + 4 * 255)]
    expected = [[[[2 * 1 + 3 * 8]], [[2 * 18 - 3 * 0]]], [[[2 * 3 + 3 * 16]], [[2 * 4 - 3 * 32]]]]
    for number in (0, 1):
        program = [window(1, 1, 1, 1), tile(set=number), drain(low=-128, high=127), END]
        channels = [channel(SUBSET, bias, IDENTITY, 0) for bias in biases[number]]
        machine = loaded(SUBSET, program, weights, channels, [[[2]], [[3]]], rows)
        machine.run()
        assert result(machine, (2, 1, 1), signed=True) == expected[number]


def test_memories_and_error_live_on_and_the_second_inference_is_the_same():
    channels = [channel(LOG, -1536, IDENTITY, 0), channel(LOG, -1015, IDENTITY, 0)]
    machine = loaded(LOG, [window(2, 1, 2, 1), tile(), drain(), END], WEIGHTS, channels, X)
    machine.run()
    before = machine.memories.feature.copy()
    machine.run()
    np.testing.assert_array_equal(machine.memories.feature, before)
    with pytest.raises(FrameError):
        machine.write([1])
    assert machine.error is Error.MAGIC
    assert machine.loaded
    machine.run()
    assert machine.error is Error.NONE


def test_a_broken_image_unloads_the_machine_and_a_broken_input_does_not():
    machine = loaded(LOG, [END], [], [])
    image = frame(LOG, [(Section.WEIGHT, 0, [1, 2])])
    with pytest.raises(FrameError):
        machine.write([*image[:-1], image[-1] ^ 1])
    assert not machine.loaded
    machine.write(frame(LOG, [(Section.PROGRAM, 0, [Opcode.END])]))
    assert machine.loaded
    features = frame(LOG, [(Section.FEATURE, 0, [7, 8])])
    with pytest.raises(FrameError):
        machine.write(features[:-2])
    assert machine.loaded
    assert machine.memories.feature[:2, 0].tolist() == [7, 8]


def stops(program, weights=(), channels=()):
    machine = loaded(LOG, program, list(weights), list(channels))
    with pytest.raises(StoppedError) as caught:
        machine.run()
    assert machine.error is caught.value.code
    return caught.value.code, str(caught.value)


def test_a_machine_that_is_not_loaded_does_not_start():
    machine = Machine(LOG)
    with pytest.raises(StoppedError) as caught:
        machine.run()
    assert (caught.value.code, str(caught.value)) == (
        Error.NOT_LOADED,
        "Machine must be loaded before it is started",
    )


@pytest.mark.parametrize("number", [0, 6, 7])
def test_illegal_opcodes_stop_it(number):
    machine = loaded(LOG, [window(1, 1, 1, 1)], [], [])
    machine.write(frame(LOG, [(Section.PROGRAM, 1, [number])]))
    with pytest.raises(StoppedError) as caught:
        machine.run()
    assert caught.value.code is Error.INSTRUCTION
    assert str(caught.value) == f"Line 1: Opcode must be 1 to 5, not {number}"


def test_lines_that_nothing_was_written_to_are_illegal():
    assert stops([window(1, 1, 1, 1)]) == (Error.INSTRUCTION, "Line 1: Opcode must be 1 to 5, not 0")


def test_a_program_that_does_not_end_stops_it():
    code, message = stops([window(1, 1, 1, 1)] * LOG.program_depth)
    assert (code, message) == (Error.INSTRUCTION, "Program must end within 1024 lines")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ([tile()], "Line 0: chunk must be 1 to 8 positions, not 0"),
        ([window(3, 3, 3, 3), tile()], "Line 1: chunk must be 1 to 8 positions, not 9"),
        ([window(3, 3, 3, 3), drain()], "Line 1: chunk must be 1 to 8 positions, not 9"),
        ([window(1, 1, 1, 1), tile(weights=15)], "Line 1: weight line must be below 16, not 16"),
        ([window(1, 1, 1, 1), tile(), drain(channels=255)], "Line 2: channel line must be below 256, not 256"),
        ([Output(address=31, count=1)], "Line 0: feature line must be below 32, not 32"),
        (
            [window(3, 1, 3, 1), tile(chain=1)],
            "Line 1: chunk of a chain pass must be at least 4 positions, at least 1 apart, not 3 positions, 1 apart",
        ),
        (
            [window(4, 1, 3, 1, step_x=0), tile(chain=1)],
            "Line 1: chunk of a chain pass must be at least 4 positions, at least 1 apart, not 4 positions, 0 apart",
        ),
    ],
)
def test_reaching_beyond_a_memory_stops_it(program, message):
    assert stops([*program, END]) == (Error.RANGE, message)


def test_feature_lines_beyond_an_odd_depth_stop_it():
    config = ArrayConfig(name="odd", pe="log", rows=2, cols=2, word_bits=3, feature_depth=20)
    one, six = window(1, 1, 1, 1), window(4, 1, 6, 1)
    for chunk, access in (
        (one, tile(address=20)),
        (six, tile(address=15, chain=1)),
        (one, drain(address=20)),
        (one, drain(address=10, skip=1, skip_offset=10)),
    ):
        machine = loaded(config, [chunk, access, END], [], [])
        with pytest.raises(StoppedError) as caught:
            machine.run()
        assert (caught.value.code, str(caught.value)) == (
            Error.RANGE,
            "Line 1: feature line must be below 20, not 20",
        )


@pytest.mark.parametrize(
    ("list_", "program", "message"),
    [
        ([], [END], "Line 0: Transfer 0 is not in the list; 0 DRAINs are done"),
        ([1], [window(1, 1, 1, 1), Sync(need=2), END], "Line 1: Transfer 1 is not in the list; 0 DRAINs are done"),
        ([1, 1], [window(1, 1, 1, 1), END], None),
    ],
)
def test_what_waits_without_an_end_names_the_line(list_, program, message):
    config = replace(LOG, memory="axi4", bus_bits=32)
    machine = loaded(config, program, [], [])
    size = entry_beats(config) * 4
    entries = [Transfer(kind=Section.WEIGHT, memory=200, length=length) for length in list_]
    content = b"".join(one.encode(config).to_bytes(size, "little") for one in entries)
    machine.outside.memory = np.frombuffer(content.ljust(1024, b"\0"), dtype=np.uint8).copy()
    if message is None:
        assert machine.run().frames == ()
        return
    with pytest.raises(StoppedError) as caught:
        machine.run()
    assert (caught.value.code, str(caught.value)) == (Error.INSTRUCTION, message)


def test_wide_builds_requantise_beyond_64_bits():
    config = ArrayConfig(
        name="wide", pe="log", rows=2, cols=2, word_bits=3, acc_width=48, acc_depth=8, feature_depth=32, digit_span=31
    )
    weights = [column(config, FOUR, ZERO), 0]
    bias = (1 << 46) + (1 << 45)
    channels = [channel(config, bias, [(1, 31), (1, 29)], 63), channel(config, -(1 << 31), [(1, 31)], 63)]
    program = [window(1, 1, 1, 1), tile(row_mask=0), drain(low=-128, high=127), END]
    machine = loaded(config, program, weights, channels, [[[0]]])
    machine.run()
    # 1.5 * 2**46 * 1.25 * 2**31 * 2**-63 is clipped; -(2**62) * 2**-63 = -0.5 -> 0
    assert result(machine, (2, 1, 1), signed=True) == [[[127]], [[0]]]

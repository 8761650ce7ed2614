"""Random programs that use the whole instruction set, with random memories: hardware and model must agree on them.

They reach what a compiler never emits (odd masks, gaps, overlaps), within what `docs/machine.md` defines: a pass reads
no line that a drain under way may write, and the first pass of a program loads every column.
"""

import random
from dataclasses import dataclass

from twofold.golden import isa
from twofold.golden.config import CHAIN, ArrayConfig
from twofold.golden.frame import frame
from twofold.golden.isa import Channel, Drain, End, Output, Pass, Section, Window, point_record, section_kinds

#: Lines of a memory that a random program uses, at a random place.
MOST_LINES = 256


@dataclass(frozen=True)
class _Span:
    """Lines `base` to ``base + count - 1`` of a memory."""

    base: int
    count: int

    def draw(self, numbers: random.Random, length: int = 1) -> int:
        """First of `length` lines within the span."""
        return self.base + numbers.randrange(self.count - length + 1)

    def half(self, upper: bool) -> "_Span":
        """Lower or upper half."""
        return _Span(self.base + upper * (self.count // 2), self.count // 2)


def random_frame(config: ArrayConfig, seed: int, *, chunks: int = 8) -> list[int]:
    """Frame with random features, weights, channels and point sets, and a random program.

    Parameters
    ----------
    config
        The build.
    seed
        Of everything random.
    chunks
        Chunks of positions (WINDOW, some PASS, DRAIN, perhaps OUTPUT) in the program, as far as its memory goes.
    """
    numbers = random.Random(seed)
    spans = {}
    for kind in (Section.FEATURE, Section.WEIGHT, Section.CHANNEL):
        depth = isa.line_count(config, kind)
        count = min(depth, MOST_LINES)
        spans[kind] = _Span(numbers.randrange(depth - count + 1), count)
    sections = []
    for kind in section_kinds(config):
        span = spans.get(kind, _Span(0, isa.line_count(config, kind)))
        if kind is Section.PROGRAM:
            lines = _program(config, numbers, chunks, spans)
        elif kind is Section.CHANNEL:
            lines = [_channel_line(config, numbers) for _ in range(span.count)]
        elif kind is Section.POINTS:
            lines = [_points_line(config, numbers) for _ in range(span.count)]
        else:
            lines = [numbers.getrandbits(isa.line_bits(config, kind)) for _ in range(span.count)]
        sections.append((kind, span.base, lines))
    return frame(config, sections)


def _channel_line(config: ArrayConfig, numbers: random.Random) -> int:
    record, line = Channel.record(config), 0
    for unit in range(config.requant_units):
        values = {name: numbers.getrandbits(bits) for name, bits in record.widths.items()}
        values["bias"] = numbers.choice((-1, 1)) * numbers.getrandbits(numbers.randrange(config.acc_width - 1))
        for n in range(config.digits):
            values[f"shift{n}"] = numbers.randrange(config.digit_span + 1)
        # Mostly right shifts that leave results within the clip bounds now and then, but all there are.
        usual = min(config.scaled_bits, config.digit_span + 16)
        values["right"] = numbers.randrange((config.scaled_bits if numbers.random() < 0.2 else usual) + 1)
        line |= record.pack(values) << (unit * record.width)
    return line


def _points_line(config: ArrayConfig, numbers: random.Random) -> int:
    return point_record(config).pack(
        {f"term{n}": numbers.randrange(len(menu)) for n, menu in enumerate(config.fmt.menus)}
    )


def _program(config: ArrayConfig, numbers: random.Random, chunks: int, spans: dict[Section, _Span]) -> list[int]:
    lines: list[int] = []
    for n in range(chunks):
        chunk = _chunk(config, numbers, spans, start=n == 0)
        if len(lines) + len(chunk) >= config.program_depth:
            break
        lines += chunk
    return [*lines, End().encode(config)]


def _chunk(config: ArrayConfig, numbers: random.Random, spans: dict[Section, _Span], *, start: bool) -> list[int]:
    """One chunk, `start`: the program's first.

    Drains write the upper half of feature memory, passes that have not waited read the lower.
    """
    features = spans[Section.FEATURE]
    width, height = _rectangle(config, numbers, features.count // 8)
    half = features.count // 2
    window = {
        "width": width,
        "height": height,
        "in_width": numbers.randint(1, config.max_side),
        "in_height": numbers.randint(1, config.max_side),
        "step_x": numbers.randrange(4),
        "step_y": numbers.randrange(4),
        "row_step": numbers.randrange(max(1, half // (4 * height))),
        "out_step": numbers.choice((1, 1, 1, 2, 3)) if height * 3 * width <= half else 1,
    }
    while _reach(window) >= half:
        window |= {"step_x": window["step_x"] // 2, "row_step": window["row_step"] // 2}
    reach = _reach(window)
    # A chain reads two lines more.
    chains = window["step_x"] > 0 and width * height >= config.min_pass and reach + CHAIN <= half
    lines = [Window(**window).encode(config)]
    waited = False
    for n in range(numbers.randint(1, 5)):
        wait = numbers.random() < 0.3
        waited |= wait
        chain = chains and numbers.random() < 0.4
        length = reach + (CHAIN if chain else 1)
        address = (features if waited else features.half(False)).draw(numbers, length)
        load = _load(config, numbers, spans[Section.WEIGHT], every=start and n == 0)
        lines.append(_pass(config, numbers, address, load | {"chain": int(chain), "wait": int(wait)}, start=n == 0))
    groups = numbers.randint(1, config.cols // config.requant_units)
    planes = -(-groups * config.requant_units // config.rows) + 1
    row_step = numbers.randint(1, 3)
    extent = height * (window["out_step"] * (width - 1) + row_step)
    plane = numbers.randint(0, max(0, (half - extent) // planes))
    low, high = sorted(numbers.randrange(-(1 << config.value_bits), 1 << config.value_bits) for _ in range(2))
    length = extent + (planes - 1) * plane
    address = features.half(True).draw(numbers, length)
    drain = Drain(
        address=address,
        row_step=row_step,
        plane=plane,
        lane=numbers.randrange(0, config.rows, config.requant_units),
        groups=groups - 1,
        channels=spans[Section.CHANNEL].draw(numbers, groups),
        low=low,
        high=high,
        **_skip(config, numbers, features.half(False).draw(numbers, length) - address, in_place=plane >= extent),
        **_table(config, numbers),
    )
    lines.append(drain.encode(config))
    if numbers.random() < 0.7:
        count = numbers.randint(1, half)
        lines.append(Output(address=features.draw(numbers, count), count=count - 1).encode(config))
    return lines


def _rectangle(config: ArrayConfig, numbers: random.Random, most: int) -> tuple[int, int]:
    most = min(config.acc_depth, most)
    positions = numbers.choice((1, 2, 3, 5, numbers.randint(1, most), most))
    width = numbers.randint(1, min(positions, config.max_side))
    return width, max(1, min(positions // width, config.max_side))


def _skip(config: ArrayConfig, numbers: random.Random, offset: int, *, in_place: bool) -> dict[str, int]:
    """A drain's operands about its skip: none, lines this far away or, if that is possible, those that are written."""
    record = Drain.record(config)
    names = ("skip_offset", "skip_shift", "skip_signed")
    values = {name: numbers.randint(record[name].low, record[name].high) for name in names}
    if in_place and numbers.random() < 0.3:
        offset = 0
    skip = int(numbers.random() < 0.6)
    return values | ({"skip": 1, "skip_offset": offset & record["skip_offset"].high} if skip else {"skip": 0})


def _table(config: ArrayConfig, numbers: random.Random) -> dict[str, int]:
    """A drain's operands about its table: none, or any that the build has."""
    if not config.tables:
        return {}
    return {"tabled": int(numbers.random() < 0.6), "table": numbers.randrange(config.tables)}


def _load(config: ArrayConfig, numbers: random.Random, weights: _Span, *, every: bool) -> dict[str, int]:
    """A pass's operands about its tile: `every` column is loaded, or some; or none, and the others mean nothing."""
    record = Pass.record(config)
    if not every and numbers.random() < 0.4:
        names = ("weights", "groups", "set")
        return {name: numbers.getrandbits(record[name].width) for name in names} | {"kept": 1}
    groups = config.load_groups if every else numbers.randint(1, config.load_groups)
    first, points = weights.draw(numbers, groups), numbers.randrange(config.sets)
    return {"weights": first, "groups": groups - 1, "set": points, "kept": 0}


def _reach(window: dict[str, int]) -> int:
    """Feature lines from the first position to the last."""
    return (window["width"] - 1) * window["step_x"] + (window["height"] - 1) * window["row_step"]


def _bits(config: ArrayConfig, numbers: random.Random) -> dict[str, int]:
    """A pass's operands about the bits that it reads: all of them, or any, in builds that can."""
    if not config.narrow_reads:
        return {}
    return {name: int(numbers.random() < 0.6) * numbers.randrange(config.act_bits) for name in ("drop", "clip")}


def _pass(config: ArrayConfig, numbers: random.Random, address: int, load: dict[str, int], *, start: bool) -> int:
    # The first pass of a chunk starts all accumulators, so that nothing depends on earlier programs.
    edge = min(8, (1 << (config.coord_bits - 1)) - 1)
    return Pass(
        address=address,
        x=numbers.randint(-edge, edge),
        y=numbers.randint(-edge, edge),
        **load,
        shift=numbers.randrange(config.max_pass_shift + 1),
        signed=numbers.getrandbits(1),
        **_bits(config, numbers),
        first=int(start or numbers.random() < 0.1),
        maximum=int(numbers.random() < 0.3),
        row_mask=numbers.getrandbits(config.rows),
        col_mask=(1 << config.cols) - 1 if start else numbers.getrandbits(config.cols),
    ).encode(config)

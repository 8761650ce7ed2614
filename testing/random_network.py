"""Random small quantized networks that fit a build: what golden, PyTorch, pass-level model and hardware agree on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.digit_words import digit_codes
from twofold.golden.formats import PointSet
from twofold.golden.layers import accumulate, evaluate, requantise, worst_case
from twofold.golden.network import INPUT, Branch, Layer, Network, Padding, Pair, Tensor
from twofold.golden.rounding import csd, scale_multiplier
from twofold.testing.random_branches import random_images, random_points, random_words, tile_passes
from twofold.testing.random_channels import with_channels
from twofold.testing.random_heads import random_heads
from twofold.testing.random_narrow import with_narrow
from twofold.testing.random_parts import with_parts
from twofold.testing.random_skip import with_skip
from twofold.testing.random_table import random_table

#: Draws of a layer before the build counts as too small; each is smaller than the one before.
TRIES = 40
#: Images on which multipliers are chosen.
SAMPLES = 8


def random_network(
    seed: int | Generator,
    config: ArrayConfig,
    *,
    layers: int = 4,
    max_side: int = 9,
    max_channels: int | None = None,
    name: str = "random",
) -> Network:
    """A network of random layers that a build can run.

    Parameters
    ----------
    seed
        The same number, or a generator in the same state, gives the same network.
    config
        The build: formats, limits of multipliers, memory depths. The network is meant to fit its memories.
    layers
        Number of layers.
    max_side
        Largest height and width of the input. Every third input or so is that large, so that with
        ``max_side**2 > config.acc_depth`` positions are computed in chunks.
    max_channels
        Most channels of a tensor; 2.5 times the rows if None.
    name
        Name of the network.

    Raises
    ------
    ValueError
        If the build is too small for any layer.
    """
    rng = np.random.default_rng(seed)
    draw = _Draw(rng, config, random_points(rng, config), max_channels or max(2, config.rows * 5 // 2), name)
    draw.start(min(max_side, config.max_side, math.isqrt(config.feature_depth // 4)))
    for n in range(layers):
        draw.add_layer(n, layers)
    return replace(draw.network, heads=random_heads(draw.aside, draw.live))


def random_inputs(seed: int | Generator, network: Network, count: int) -> NDArray[np.int64]:
    """Inputs of a network, int64 of shape (count, C, H, W).

    In turn: uniform noise, only least and largest values, mostly zeros, the largest value everywhere.
    """
    rng = np.random.default_rng(seed)
    return random_images(rng, network.input, count)


@dataclass
class _Draw:
    """A network under construction, with sample values of each tensor and what it costs so far."""

    rng: Generator
    config: ArrayConfig
    point_sets: dict[str, PointSet]
    max_channels: int
    name: str
    input: Tensor = field(init=False)
    aside: Generator = field(init=False)
    layers: list[Layer] = field(default_factory=list)
    samples: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    live: list[str] = field(default_factory=list)
    feature_lines: int = 0
    channel_lines: int = 0
    weight_lines: int = 0
    program_lines: int = 8

    def __post_init__(self) -> None:
        # What not every network has is drawn beside, so that the others stay what they were.
        self.aside = Generator(self.rng.bit_generator.jumped())  # type: ignore[attr-defined]

    @property
    def network(self) -> Network:
        return Network(self.name, self.input, tuple(self.layers), self.point_sets)

    def tensor(self, name: str) -> Tensor:
        return self.input if name == INPUT else next(layer.output for layer in self.layers if layer.name == name)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def upto(self, low: int, high: int) -> int:
        """Low to high, both possible."""
        return int(self.rng.integers(low, max(low, high) + 1))

    def start(self, max_side: int) -> None:
        """Draws the input."""
        sides = (max_side, max_side) if self.chance(0.35) else (self.upto(1, max_side), self.upto(1, max_side))
        room = self.config.feature_depth // (4 * sides[0] * sides[1])
        channels = self.upto(1, min(self.max_channels * 2 // 3, room * self.config.rows))
        self.input = self.random_tensor((channels, *sides))
        self.samples[INPUT] = random_images(self.rng, self.input, SAMPLES)
        self.live.append(INPUT)
        self.feature_lines = self.lines(self.input)

    def random_tensor(self, shape: tuple[int, int, int]) -> Tensor:
        scale = float(2.0 ** self.rng.uniform(-8, 2))
        return Tensor(shape, self.upto(2, self.config.act_bits), self.chance(0.4), scale)

    def lines(self, tensor: Tensor) -> int:
        """Feature lines of a tensor."""
        return math.ceil(tensor.shape[0] / self.config.rows) * tensor.shape[1] * tensor.shape[2]

    def add_layer(self, n: int, count: int) -> None:
        """Draws layer n of `count` until one fits."""
        for attempt in range(TRIES):
            size = 1 - attempt / TRIES
            if 2 * attempt > TRIES:
                self.live = self.live[-1:]
            kinds = ("conv2d", "residual", "skip", "add", "maxpool", "avgpool", "linear")
            weights = (0.25, 0.15, 0.2, 0.1, 0.1, 0.1, 0.1) if n + 1 < count else (0.2, 0.1, 0.15, 0.1, 0.1, 0.1, 0.25)
            kind = str(self.rng.choice(kinds, p=weights)) if attempt + 5 < TRIES else "maxpool"
            source = self.live[-1] if self.chance(0.8) else str(self.rng.choice(self.live))
            whole, shape = self.branches(kind, source, size)
            branches = tuple(with_channels(self.rng, branch) for branch in whole)
            if kind != "maxpool":
                branches = tuple(self.narrowed(branch) for branch in branches)
            same = [name for name in self.live if self.tensor(name).shape == shape]
            skip = str(self.rng.choice(same)) if kind in ("skip", "avgpool", "add") and same else None
            layer = self.quantise(f"layer{n}.{kind}", kind, branches, shape, skip)
            if layer is not None:
                layer = self.parted(layer)
            if layer is not None and self.book(layer, (n + 1) / count):
                if len(self.live) > 2 and self.chance(0.6):
                    self.live.pop(0)
                return
        raise ValueError(
            f"Build {self.config.name!r} must have room for a random network, not for {n} layers of {count}"
        )

    def branches(self, kind: str, source: str, size: float) -> tuple[tuple[Branch, ...], tuple[int, int, int]]:
        """Branches of a layer of some kind and the shape that they give."""
        channels, height, width = self.tensor(source).shape
        if kind == "linear":
            outputs = self.upto(1, int(self.max_channels * size))
            branch = self.dense(source, outputs, (height, width))
            return (branch,), (outputs, 1, 1)
        if kind in ("maxpool", "avgpool"):
            branch = self.pool(source, kind == "maxpool", size)
            return (branch,), (channels, *branch.output_size(height, width))
        if kind == "add":
            others = list(self.skips((height, width), self.max_channels))
            other, stride = others[self.upto(0, len(others) - 1)]
            outputs = max(channels, self.tensor(other).shape[0])
            first = self.identity(source, (1, 1), self.upto(0, outputs - channels))
            second = self.identity(other, stride, self.upto(0, outputs - self.tensor(other).shape[0]))
            return (first, second), (outputs, height, width)
        if kind == "skip":
            alike = [name for name in self.live if self.tensor(name).shape[1:] == (height, width)]
            outputs = self.tensor(str(self.rng.choice(alike))).shape[0]
            taps = int(self.rng.choice([1, 3])) if max(height, width) + 2 <= self.config.max_side else 1
            branch = self.dense(source, outputs, (taps, taps), padding=(taps // 2, taps // 2))
            return (branch,), (outputs, height, width)
        branch = self.convolution(source, kind == "residual", size)
        outputs, positions = branch.out_channels, branch.output_size(height, width)
        if kind == "conv2d":
            return (branch, *self.joined(branch, (height, width))), (outputs, *positions)
        if self.chance(0.25):
            shortcut = self.dense(source, outputs, (1, 1), stride=branch.stride)
        else:
            others = list(self.skips(positions, outputs))
            skip, stride = others[self.upto(0, len(others) - 1)]
            shortcut = self.identity(skip, stride, self.upto(0, outputs - self.tensor(skip).shape[0]))
        return (branch, shortcut) if self.chance(0.7) else (shortcut, branch), (outputs, *positions)

    def joined(self, branch: Branch, size: Pair) -> tuple[Branch, ...]:
        """Now and then, of a convolution: a branch like it, over a tensor of that size that it is concatenated with."""
        if branch.groups > 1 or not self.chance(0.3):
            return ()
        alike = [name for name in self.live if self.tensor(name).shape[1:] == size]
        other = str(self.rng.choice(alike))
        shape = (branch.out_channels, self.tensor(other).shape[0], *branch.kernel)
        point_set, codes, shifts = random_words(self.rng, self.config, self.point_sets, shape)
        return (Branch(other, point_set, codes, shifts, branch.stride, branch.padding, branch.dilation),)

    def skips(self, positions: Pair, outputs: int) -> Iterator[tuple[str, Pair]]:
        """Live tensors that a strided identity can add to an output of that size."""
        for name in self.live:
            channels, height, width = self.tensor(name).shape
            steps = [
                next((s for s in (1, 2, 3) if (side - 1) // s + 1 == count), 0)
                for side, count in zip((height, width), positions, strict=True)
            ]
            if channels <= outputs and all(steps):
                yield name, (steps[0], steps[1])

    def identity(self, source: str, stride: Pair, channel: int) -> Branch:
        """A depthwise 1x1 branch of small integers, one a channel."""
        channels = self.tensor(source).shape[0]
        values = self.rng.integers(1, 10, channels) if self.chance(0.3) else np.full(channels, self.upto(1, 4))
        point_set = next(iter(self.point_sets))
        codes, shifts = digit_codes(values.reshape(-1, 1, 1, 1), self.point_sets[point_set])
        return Branch(source, point_set, codes, shifts, stride=stride, groups=channels, channel=channel)

    def dense(self, source: str, outputs: int, kernel: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0)) -> Branch:
        """A branch over all channels."""
        shape = (outputs, self.tensor(source).shape[0], *kernel)
        point_set, codes, shifts = random_words(self.rng, self.config, self.point_sets, shape)
        return Branch(source, point_set, codes, shifts, stride, padding)

    def convolution(self, source: str, same: bool, size: float) -> Branch:
        """A convolution; with `same` one that keeps the size but for its stride, and at least the channels."""
        channels = self.tensor(source).shape[0]
        kernel, stride, padding, dilation = self.window(source, max(1, round(5 * size)), same)
        outputs = self.upto(channels if same else 1, int(self.max_channels * size))
        groups = 1
        if not same and self.chance(0.2):
            groups = outputs = channels
        elif not same and self.chance(0.35):
            groups = int(self.rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
            outputs = groups * self.upto(1, max(1, min(3, outputs // groups)))
        shape = (outputs, channels // groups, *kernel)
        point_set, codes, shifts = random_words(self.rng, self.config, self.point_sets, shape)
        return Branch(source, point_set, codes, shifts, stride, padding, dilation, groups)

    def pool(self, source: str, maximum: bool, size: float) -> Branch:
        """A depthwise branch of ones; for a maximum sometimes of minus ones."""
        channels, height, width = self.tensor(source).shape
        kernel, stride, padding, dilation = self.window(source, max(1, round(4 * size)), False)
        if not maximum and self.chance(0.4):
            kernel, stride, padding, dilation = (height, width), (1, 1), (0, 0), (1, 1)
        point_set = next(iter(self.point_sets))
        one = -1 if maximum and self.chance(0.15) else 1
        codes, shifts = digit_codes(np.full((channels, 1, *kernel), one), self.point_sets[point_set])
        branch = Branch(source, point_set, codes, shifts, stride, padding, dilation, channels)
        if maximum and not branch.windows_touch(height, width):
            return Branch(source, point_set, codes[..., :1, :1], shifts, groups=channels)
        return branch

    def window(self, source: str, longest: int, same: bool) -> tuple[Pair, Pair, Padding, Pair]:
        """Kernel, stride, padding and dilation that give at least one position."""
        sides = self.tensor(source).shape[1:]
        axes = []
        square = self.chance(0.5)
        taps, step = self.upto(1, longest), int(self.rng.choice([1, 2, 3], p=(0.6, 0.25, 0.15)))
        for side in sides:
            if not square:
                taps, step = self.upto(1, longest), int(self.rng.choice([1, 2, 3], p=(0.6, 0.25, 0.15)))
            dil = int(self.rng.choice([1, 2, 3], p=(0.75, 0.15, 0.1)))
            if same:
                odd = taps | 1
                axes.append((odd, step, dil * (odd // 2), dil))
                continue
            extent = dil * (taps - 1) + 1
            most = min(extent, (self.config.max_side - side) // 2) if self.chance(0.1) else extent // 2
            pad = self.upto(0, most)
            if side + 2 * pad < extent:
                taps, dil = min(taps, side + 2 * pad), 1
            axes.append((taps, step, pad, dil))
        kernel, stride, padding, dilation = zip(*axes, strict=True)
        if not same and self.chance(0.25):
            ends = [self.end(side, *axis) for side, axis in zip(sides, axes, strict=True)]
            return kernel, stride, (*padding, *ends), dilation
        return kernel, stride, padding, dilation

    def end(self, side: int, taps: int, step: int, pad: int, dil: int) -> int:
        """Another padding below or on the right, or one line less, that leaves a position."""
        extent = dil * (taps - 1) + 1
        return self.upto(max(-1, extent - side - pad), max(pad, min(extent - 1, self.config.max_side - side - pad)))

    def quantise(
        self, name: str, kind: str, branches: tuple[Branch, ...], shape: tuple[int, int, int], skip: str | None
    ) -> Layer | None:
        """The layer with biases and multipliers for its sample values; None if it does not fit the accumulator."""
        tensor, channels = self.random_tensor(shape), shape[0]
        ones = np.ones(channels, dtype=np.int64)
        kind = "conv2d" if kind in ("residual", "skip") else kind
        maximum = kind == "maxpool"
        draft = Layer(name, kind, branches, tensor, 0 * ones, ones, 0 * ones, tensor.low, tensor.high, maximum)
        network = Network(self.name, self.input, (*self.layers, draft), self.point_sets)
        limit = 1 << min(self.config.acc_width - 1, 60 - self.config.digit_span)
        room = [limit - 1 - worst for worst in worst_case(network, draft)]
        # A maximum compares whole column sums.
        whole = self.config.rows * self.config.product_max << max(branches[0].shifts) if maximum else 0
        if (
            min(room) < 0
            or whole >= limit
            or any(max(branch.shifts) > self.config.max_pass_shift for branch in branches)
        ):
            return None
        sums = accumulate(network, draft, self.samples).swapaxes(0, 1).reshape(channels, -1)
        biases = np.array([self.random_bias(row, most) for row, most in zip(sums, room, strict=True)], dtype=np.int64)
        sums += biases[:, None]
        tables = [one.table for one in self.layers if one.table is not None]
        table = random_table(self.rng, self.config, tensor, list({id(one): one for one in tables}.values()))
        bounds = tensor if table is None else table
        pairs = [self.random_scale(row, bounds.high) for row in sums]
        multiplier, right = np.array(pairs, dtype=np.int64).T
        high = bounds.high if self.chance(0.8) else self.upto(max(1, bounds.high // 2), bounds.high)
        low = int(self.rng.choice([bounds.low, -high, 0])) if bounds.signed else 0
        layer = Layer(name, kind, branches, tensor, biases, multiplier, right, low, high, maximum, table=table)
        if skip is not None:
            layer = with_skip(self.rng, self.config, network, layer, skip)
        acc = accumulate(Network(self.name, self.input, (*self.layers, layer), self.point_sets), layer, self.samples)
        y = requantise(layer, acc, self.samples[layer.skip.source] if layer.skip else None)
        inside = np.mean((y > low) & (y < high)) if table is None and high - low > 1 else 1.0
        if inside < 0.05 or len(np.unique(y)) < 2:
            return None
        self.samples[name] = y
        return layer

    def narrowed(self, branch: Branch) -> Branch:
        """Now and then, where the build can: a branch that reads a part of its source's bits."""
        return with_narrow(self.aside, self.config, branch, self.tensor(branch.source))

    def parted(self, layer: Layer) -> Layer:
        """The layer, or one of parts that looks like it."""
        found = with_parts(self.aside, self.config, layer)
        if found is not layer:
            network = Network(self.name, self.input, (*self.layers, found), self.point_sets)
            self.samples[layer.name] = evaluate(network, found, self.samples)
        return found

    def random_bias(self, sums: NDArray[np.int64], most: int) -> int:
        """Mostly of the size of the sums; sometimes as large as the accumulator allows."""
        kind = self.rng.random()
        if kind < 0.2:
            return 0
        if kind < 0.26:
            return most * (1 if self.chance(0.5) else -1)
        centre = -float(sums.mean()) if self.chance(0.5) else 0.0
        value = round(centre + self.rng.normal() * (float(sums.std()) + 1))
        return max(-most, min(most, value))

    def random_scale(self, sums: NDArray[np.int64], high: int) -> tuple[int, int]:
        """Multiplier and right shift that put most sums within the format; some extreme ones."""
        span, max_right = self.config.digit_span, min(62, self.config.scaled_bits)
        scale = high * self.rng.uniform(0.3, 1.5) / max(1.0, float(np.quantile(np.abs(sums), 0.9)))
        kind = self.rng.random()
        if kind < 0.04:
            return 1, 0
        if kind < 0.06:
            return 0, self.upto(0, max_right)
        if kind < 0.2:
            # A plain shift of few bits: many values lie half-way between two integers.
            return 1, min(max_right, max(1, round(-math.log2(scale))))
        digits = self.upto(1, self.config.digits)
        try:
            return scale_multiplier(scale, digits=digits, span=span, max_right=max_right)
        except ValueError:
            return 1, min(max_right, max(0, round(-math.log2(scale))))

    def book(self, layer: Layer, share: float) -> bool:
        """Adds the layer if the memories have room for it, using at most `share` of each so far."""
        config = self.config
        lines = self.lines(layer.output)
        live = sum(self.lines(self.tensor(name)) for name in self.live) + lines
        # Either no line need be used twice, or so few tensors live at once that fragments do not matter.
        if self.feature_lines + lines > share * config.feature_depth and 2 * live > config.feature_depth:
            return False
        height, width = layer.output.shape[1:]
        chunks = math.ceil(height / max(1, config.acc_depth // width)) * math.ceil(width / config.acc_depth)
        tiles = math.ceil(layer.output.shape[0] / config.cols)
        passes = sum(tile_passes(config, self.point_sets[branch.point_set], branch) for branch in layer.branches)
        program = self.program_lines + chunks * (passes + tiles * (2 + 2 * len(layer.branches)))
        weights = self.weight_lines + passes * config.load_groups
        channel = self.channel_lines + tiles * (config.cols // config.requant_units)
        if channel > share * config.channel_depth:
            return False
        if weights > share * config.weight_depth or program > share * config.program_depth:
            return False
        assert all(len(csd(int(m))) <= config.digits for m in layer.multiplier)
        self.program_lines, self.weight_lines, self.channel_lines = program, weights, channel
        self.feature_lines += lines
        self.layers.append(layer)
        self.live.append(layer.name)
        return True

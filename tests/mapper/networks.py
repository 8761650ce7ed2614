"""Random quantized networks and builds that reach every path of the mapper; deterministic in the seed."""

import numpy as np

from twofold.golden import catalog
from twofold.golden.config import ArrayConfig
from twofold.golden.formats import PointSet, WeightFormat
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor


def build(rng: np.random.Generator) -> ArrayConfig:
    """A build of any PE, shape and format, with memories that do not limit."""
    pe = ("log", "subset")[rng.integers(2)]
    rows, cols = (int(2 ** rng.integers(1, 4)) for _ in range(2))
    return ArrayConfig(
        name="random",
        pe=pe,
        rows=rows,
        cols=cols,
        word_bits=int(rng.integers(2, 5)),
        universal_set=int(rng.integers(1, 6)),
        asymmetric=bool(pe == "log" and rng.integers(2)),
        acc_width=32,
        acc_depth=int(rng.integers(5, 40)),
        feature_depth=8192,
        weight_depth=1 << 15,
        channel_depth=512,
        program_depth=1 << 16,
        point_sets=4,
        max_side=64,
        requant_units=int(2 ** rng.integers(0, min(rows, cols).bit_length())),
        digits=int(rng.integers(1, 4)),
        load_columns=int(2 ** rng.spawn(1)[0].integers(cols.bit_length())),
    )


def point_sets(rng: np.random.Generator, fmt: WeightFormat) -> dict[str, PointSet]:
    """Sets with and without zero; on a log PE its only one."""
    if len(fmt.menus) == 1:
        return {"natural": catalog.log_points(fmt)}
    positive = [level for level in fmt.universal_set if level]
    some = rng.choice(positive, fmt.point_count, replace=len(positive) < fmt.point_count).tolist()
    other = rng.choice(positive, fmt.point_count, replace=True).tolist()
    return {
        "dense": PointSet(fmt, tuple(some)),
        "zero": PointSet(fmt, (*other[:-1], 0)),
    }


def branch(
    rng: np.random.Generator,
    points: dict[str, PointSet],
    source: tuple[str, Tensor],
    out_channels: int,
    *,
    groups: int = 1,
    kernel: tuple[int, int] = (1, 1),
    **geometry,
) -> Branch:
    """A branch of one to three words, some tiles of the later ones empty where the set allows it."""
    name = sorted(points)[rng.integers(len(points))]
    words = int(rng.integers(1, 4))
    shape = (words, out_channels, source[1].shape[0] // groups, *kernel)
    codes = rng.integers(0, 2 * points[name].fmt.point_count, shape).astype(np.uint8)
    if points[name].has_zero:
        for word in range(1, words):
            codes[word, :, :: int(rng.integers(1, 3))] = points[name].encode(0)
    shifts = tuple(int(shift) for shift in rng.integers(0, 4, words))
    return Branch(source[0], name, codes, shifts, groups=groups, **geometry)


def layer(
    rng: np.random.Generator, name: str, kind: str, branches: list[Branch], size, *, maximum: bool = False
) -> Layer:
    """A layer around its branches, with a scale that spreads its results."""
    channels = max(one.channel + one.out_channels for one in branches) if size is None else size[0]
    signed = bool(rng.integers(2))
    output = Tensor(size or (channels, 1, 1), int(rng.integers(3, 9)), signed, 1.0)
    low = int(rng.integers(output.low, output.low // 2 + 1))
    return Layer(
        name,
        kind,
        tuple(branches),
        output,
        bias=rng.integers(-500, 500, channels),
        multiplier=2 ** rng.integers(0, 6, channels),
        right=rng.integers(0, 14, channels),
        low=low,
        high=int(rng.integers(max(low, 1), output.high + 1)),
        maximum=maximum,
    )


def network(rng: np.random.Generator, config: ArrayConfig, layers: int = 4) -> Network:
    """Random layers, each on a random earlier tensor: convolutions, groups, residuals, poolings, a linear layer."""
    points = point_sets(rng, config.fmt)
    shape = (int(rng.integers(1, 12)), int(rng.integers(4, 11)), int(rng.integers(4, 11)))
    tensors = {INPUT: Tensor(shape, int(rng.integers(2, 9)), bool(rng.integers(2)), 1.0)}
    made: list[Layer] = []
    for number in range(layers):
        names = list(tensors)
        source = names[-1 if rng.integers(3) else rng.integers(len(names))]
        kind = ("conv2d", "conv2d", "grouped", "depthwise", "maxpool", "add", "linear")[rng.integers(7)]
        one = _layer(rng, f"layer{number}", kind, points, source, tensors)
        made.append(one)
        tensors[one.name] = one.output
    return Network("random", tensors[INPUT], tuple(made), points)


def _layer(rng, name, kind, points, source, tensors) -> Layer:
    tensor = tensors[source]
    channels, height, width = tensor.shape
    kernel = tuple(int(min(rng.integers(1, 4), side)) for side in (height, width))
    geometry = {
        "stride": tuple(int(n) for n in rng.integers(1, 3, 2)),
        "padding": tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel),
        "dilation": tuple(
            int(rng.integers(1, 3)) if 2 * (k - 1) < side else 1
            for k, side in zip(kernel, (height, width), strict=True)
        ),
    }
    if rng.integers(3) == 0:
        geometry["padding"] += tuple(int(rng.integers(0, k)) for k in kernel)
    if kind == "linear":
        one = branch(rng, points, (source, tensor), int(rng.integers(1, 12)), kernel=(height, width))
        return layer(rng, name, kind, [one], None)
    if kind == "maxpool":
        geometry["dilation"] = (1, 1)
        one = branch(rng, points, (source, tensor), channels, groups=channels, kernel=kernel, **geometry)
        codes = np.full((1, *one.codes.shape[1:]), one.codes.flat[0], dtype=np.uint8)
        one = Branch(source, one.point_set, codes, one.shifts[:1], groups=channels, **geometry)
        return layer(rng, name, kind, [one], (channels, *one.output_size(height, width)), maximum=True)
    if kind == "add":
        peers = [key for key, other in tensors.items() if other.shape[1:] == tensor.shape[1:]]
        other = peers[rng.integers(len(peers))]
        extra = int(rng.integers(0, 4))
        size = max(channels, tensors[other].shape[0]) + extra
        branches = [
            Branch(
                key,
                one.point_set,
                one.codes,
                one.shifts,
                groups=one.groups,
                channel=int(rng.integers(0, size - one.out_channels + 1)),
            )
            for key in (source, other)
            for one in [branch(rng, points, (key, tensors[key]), tensors[key].shape[0], groups=tensors[key].shape[0])]
        ]
        return layer(rng, name, kind, branches, (size, height, width))
    groups = {"conv2d": 1, "depthwise": channels}.get(kind) or int(
        rng.choice([g for g in range(1, channels + 1) if channels % g == 0])
    )
    out_channels = groups * int(rng.integers(1, 4 if groups > 1 else 18))
    one = branch(rng, points, (source, tensor), out_channels, groups=groups, kernel=kernel, **geometry)
    return layer(rng, name, "conv2d", [one], (out_channels, *one.output_size(height, width)))

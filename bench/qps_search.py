"""Search for the 4-bit point set of a 64x64x3x3 layer of ResNet-20, beside the procedure of [SubsetQ].

The peer is that procedure in vectorised NumPy: for every subset of the universal set, divided by its largest point, the
scale starts at 1 and takes least-squares steps over all weights (divided by the largest magnitude) until it moves less
than 1e-5; subset and scale of least error win. A sample of the subsets is timed, and the time scaled up to all of them.
Its error is the least over ALL subsets, by the same steps on prefix sums, which must agree with the timed sample.
"""

import json
import os
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.bench.tools.console import run_benchmark, show_table
from twofold.golden import catalog
from twofold.golden.arrays import read_npz
from twofold.golden.formats import WeightFormat
from twofold.support.commands import Parser, failed
from twofold.support.files import write_text
from twofold.support.output import build_folder
from twofold.train.quantizers.search import objective, search_points
from twofold.train.quantizers.search_rows import SortedRow

Array = NDArray[np.float64]
REPORT = build_folder("bench", "qps_search.json")
SHAPE = (64, 64, 3, 3)
#: The peer stops when its scale moves less, or after so many steps.
MOVE, STEPS = 1e-5, 1000


def layer_weights(path: Path | None) -> tuple[Array, str]:
    """Weights of the first layer of that shape in an npz file, or synthetic ones; and where they come from.

    Synthetic weights are normal with a lognormal deviation, which gives them the heavy tails of trained ones.
    """
    if path is None:
        rng = np.random.default_rng(0)
        return rng.normal(size=SHAPE) * np.exp(0.42 * rng.normal(size=SHAPE)) * 0.04, "synthetic"
    if not path.is_file():
        raise FileNotFoundError(f"Weights must be an npz file, not {str(path)!r}")
    for key, array in read_npz(path).items():
        if array.shape == SHAPE:
            return array.astype(np.float64), key
    raise ValueError(f"Weights must have an array of shape {SHAPE}, not so in {str(path)!r}")


def candidates(fmt: WeightFormat) -> Array:
    """Every subset, each divided by its largest point; shape (subsets, points)."""
    subsets = np.array(list(combinations(fmt.universal_set, fmt.point_count)), dtype=np.float64)
    return subsets / subsets[:, -1:]


def peer_fit(size: Array, points: Array) -> tuple[float, float]:
    """(scale, error) of one subset by the paper's steps over all weights."""
    scale = 1.0
    for _ in range(STEPS):
        q = points[np.abs(size[:, None] - scale * points).argmin(axis=1)]
        new = float((size * q).sum() / (q * q).sum())
        moved, scale = abs(new - scale), new
        if moved < MOVE:
            break
    q = points[np.abs(size[:, None] - scale * points).argmin(axis=1)]
    return scale, float(((size - scale * q) ** 2).sum())


def peer_on_sums(row: SortedRow, points: Array) -> tuple[float, int]:
    """(scale, steps) of one subset by the same steps on prefix sums."""
    mids, gaps, gaps2 = (points[1:] + points[:-1]) / 2, np.diff(points), np.diff(points**2)
    scale, steps, moved = 1.0, 0, np.inf
    while moved >= MOVE and steps < STEPS:
        place = np.searchsorted(row.ordered, mids * scale, side="right")
        linear = points[-1] * row.sums[-1] - gaps @ row.sums[place]
        square = points[-1] ** 2 * row.counts[-1] - gaps2 @ row.counts[place]
        moved, scale, steps = abs(linear / square - scale), float(linear / square), steps + 1
    return scale, steps


def measure(weights: Array, fmt: WeightFormat, *, sample: int, repeats: int) -> dict[str, Any]:
    """Times and errors of both; errors in units of the largest magnitude's square."""
    size = np.abs(weights).ravel() / np.abs(weights).max()
    every = candidates(fmt)
    chosen = np.random.default_rng(1).choice(len(every), min(sample, len(every)), replace=False)
    start = time.perf_counter()
    timed = [peer_fit(size, every[n]) for n in chosen]
    peer_seconds = (time.perf_counter() - start) / len(chosen) * len(every)

    row = SortedRow.of(size)
    scales, steps = (np.array(x) for x in zip(*(peer_on_sums(row, points) for points in every), strict=True))
    if not np.allclose(scales[chosen], [scale for scale, _ in timed], rtol=1e-9, atol=0):
        raise RuntimeError("Scales on prefix sums must be those of the timed procedure")
    best = int(np.argmin(row.errors(1 / scales, row.values(1 / scales, every))))
    flat = size.reshape(1, -1)
    peer_error = objective(flat, tuple(every[best]), scales[best : best + 1])

    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = search_points(flat, fmt, by_channel=False)
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    channels = search_points(weights, fmt)
    channel_seconds = time.perf_counter() - start
    seconds = float(np.median(times))
    return {
        "speedup": peer_seconds / seconds,
        "error_ratio": found.error / peer_error,
        "subsets": len(every),
        "peer": {
            "seconds_scaled_up": peer_seconds,
            "subsets_timed": len(chosen),
            "mean_steps": float(steps.mean()),
            "error": peer_error,
            "points": [round(float(p) * 32, 3) for p in every[best]],
        },
        "seconds": seconds,
        "repeats": repeats,
        "error": found.error,
        "proven_lower_bound": found.lower,
        "points": list(found.levels),
        "scale_a_channel": {
            "seconds": channel_seconds,
            "error": channels.error / float(np.abs(weights).max()) ** 2,
            "points": list(channels.levels),
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes the report. Fails if the peer's error is smaller."""
    parser = Parser(prog="twofold bench qps_search", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, help="npz with an array of 64x64x3x3 (default: synthetic weights)")
    parser.add_argument("--bits", type=int, default=4, choices=(2, 3, 4))
    parser.add_argument("--sample", type=int, default=100, help="subsets timed for the peer (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=21, help="of our search (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        weights, source = layer_weights(options.weights)
    except (ValueError, OSError) as error:
        return failed(error)
    fmt = catalog.subset_format(options.bits)
    result = measure(weights, fmt, sample=options.sample, repeats=options.repeats)
    peer, channels = result["peer"], result["scale_a_channel"]
    theirs = f"[SubsetQ], NumPy ({peer['subsets_timed']} of {result['subsets']} timed)"
    lines = [
        (name, f"{seconds:.5f}", f"{row['error']:.12f}", str(row["points"]))
        for name, seconds, row in (
            (theirs, peer["seconds_scaled_up"], peer),
            ("Twofold, proven optimum", result["seconds"], result),
            ("Twofold, one scale a channel, proven", channels["seconds"], channels),
        )
    ]
    lines.insert(2, ("ratio of the two", f"{result['speedup']:.0f}", f"{result['error_ratio']:.12f}", ""))
    weights_of = f"{'x'.join(map(str, SHAPE))} weights ({source})"
    title = f"Point set of {weights_of}, {options.bits} bits, one scale a tensor"
    show_table(title, ("", "seconds", "error", "points"), lines)
    facts = {"layer": source, "shape": list(SHAPE), "bits": options.bits, "cores": os.cpu_count()}
    write_text(REPORT, json.dumps(facts | {"qps_search": result}, indent=2) + "\n")
    return 1 if result["error_ratio"] > 1 + 1e-9 else 0


if __name__ == "__main__":
    sys.exit(run_benchmark(main))

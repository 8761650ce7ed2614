"""Chain passes: up to three neighbouring taps of a channel-by-channel tile at once, where that is faster."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import CHAIN, ArrayConfig
from twofold.golden.isa import Pass, Window
from twofold.golden.network import Layer
from twofold.golden.timing import Clock
from twofold.mapper.chunks import choices, smallest

#: Kernel position and word: (ky, kx, number of the word).
Tap = tuple[int, int, int]


def chain_fits(config: ArrayConfig, valid: NDArray[np.bool_]) -> bool:
    """Whether a tile's columns each see one lane at most, and that one which a column's chain begins with.

    Parameters
    ----------
    valid : bool, shape (rows, columns)
        Which lanes the columns see.
    """
    lanes, columns = np.nonzero(valid)
    late = (lanes - columns) % min(config.rows, config.cols)
    return min(config.rows, config.cols) > CHAIN and len(set(columns.tolist())) == len(columns) and not late.any()


def may_chain(config: ArrayConfig, layer: Layer) -> bool:
    """Whether a layer without parts may have chain passes: by its kernels and its positions, whatever its words."""
    near = any(branch.kernel[1] > 1 and branch.dilation[1] == 1 for branch in layer.branches)
    return (
        near
        and not layer.maximum
        and smallest(choices(*layer.output.shape[1:], config.acc_depth)[0]) >= config.min_pass
    )


def chain_passes(
    config: ArrayConfig, live: Sequence[Tap], size: tuple[int, int], stride: int, columns: int
) -> dict[Tap, tuple[int, ...]]:
    """The chain passes that are not slower than the passes whose place they take, by their exact timing.

    Parameters
    ----------
    config
        The build.
    live
        Taps that hold anything.
    size
        Height and width of the layer's output.
    stride
        Horizontal stride.
    columns
        Columns that a pass loads.

    Returns
    -------
    For the leftmost tap of each chain pass, the kernel columns that it takes the place of.
    """
    cut = choices(*size, config.acc_depth)[0]
    if smallest(cut) < config.min_pass:
        return {}
    window = Window.zero(height=cut[0].height, width=cut[0].width, step_x=stride)
    single, whole = (_interval(config, window, columns, chain) for chain in (0, 1))
    found = {}
    order = sorted(live, key=lambda tap: (tap[0], tap[2], tap[1]))
    for (ky, word), taps in groupby(order, key=lambda tap: (tap[0], tap[2])):
        left = [kx for _, kx, _ in taps]
        while left:
            near = tuple(kx for kx in left if kx < left[0] + CHAIN)
            if len(near) > 1 and whole <= len(near) * single:
                found[ky, left[0], word] = near
                left = left[len(near) :]
            else:
                left = left[1:]
    return found


def _interval(config: ArrayConfig, window: Window, columns: int, chain: int) -> int:
    """Cycles from one pass of a kind to the next, tiles loaded."""
    clock, groups = Clock(config), -(-columns // config.load_columns)
    clock.step(window)
    first, second = (clock.step(Pass.zero(groups=groups - 1, chain=chain)).accepted for _ in range(2))
    return second - first


def chain_block(
    codes: NDArray[np.uint8], valid: NDArray[np.bool_], filler: int, taps: Sequence[int]
) -> NDArray[np.uint8]:
    """The tile of a chain pass, shape (rows, columns): the words of a tap in the rows that see its operands.

    Parameters
    ----------
    codes : uint8, shape (Kw, rows, columns)
        Words of the kernel positions of one kernel row.
    valid : bool, shape (rows, columns)
        Which of them are the layer's.
    filler
        Code of zero.
    taps
        Kernel columns, the leftmost first; those of them that hold anything.
    """
    block: NDArray[np.uint8] = np.full_like(codes[0], filler)
    for kx in taps:
        late = CHAIN - 1 - (kx - taps[0])
        np.copyto(block, np.roll(codes[kx], late, axis=0), where=np.roll(valid, late, axis=0))
    return block

"""Where the cycles of an inference went, cause by cause; they add up to the machine's CYCLES exactly."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain, Instruction, Pass
from twofold.golden.timing import Step

#: What a cycle can go to: the array occupied; a tile being loaded; sums on their way through the array before a drain
#: can read them; the requantiser busy; an instruction being fetched; transfers with the memory outside; all that comes
#: before an inference's first pass.
CAUSES = ("array", "load", "drain", "requantiser", "fetch", "memory", "start")
#: What the array is occupied with: multiply-accumulates of the network; rows, columns and cycles that these do not
#: fill; further words of weights; residuals and pooling, which are multiplications by constants.
WORK = ("useful", "idle", "words", "constants")
#: Both in one: the array's cycles by what they were for, then the others by what they waited for.
LOST = (*WORK, *CAUSES[1:])


def causes(config: ArrayConfig, program: Iterable[Instruction], steps: Iterable[Step]) -> NDArray[np.int64]:
    """Each instruction's cycles by cause.

    Parameters
    ----------
    config
        The build, for its latencies.
    program, steps
        The instructions of an inference from line 0 on, and their times.

    Returns
    -------
    Shape (instructions, len(CAUSES)); a row adds up to the step's `cycles`.
    """
    rows = []
    started, settled = False, 0
    for instruction, step in zip(program, steps, strict=True):
        if started:
            drain = max(0, min(step.requantiser, settled - (step.accepted - step.memory - step.requantiser)))
            rows.append((step.array, step.load, drain, step.requantiser - drain, step.fetch, step.memory, 0))
        else:
            rows.append((0, 0, 0, 0, 0, 0, step.cycles))
            started = isinstance(instruction, Pass)
        if isinstance(instruction, Drain):
            settled = step.accepted + config.array_latency
    return np.array(rows, dtype=np.int64).reshape(-1, len(CAUSES))


def totals(rows: NDArray[np.int64]) -> dict[str, int]:
    """Cycles of some instructions by cause, in the order of `CAUSES`."""
    return dict(zip(CAUSES, rows.sum(axis=0).tolist(), strict=True))


def share_out(array: int, passes: Mapping[str, int], useful: int) -> dict[str, int]:
    """The array's cycles by what they were for, in the order of `WORK`.

    Parameters
    ----------
    array
        Cycles in which the array was occupied.
    passes
        How many of them passes of further words and of constants took.
    useful
        How many the network's multiply-accumulates would take if they filled the array.
    """
    words = min(array, passes.get("words", 0))
    constants = min(array - words, passes.get("constants", 0))
    useful = min(array - words - constants, useful)
    return {"useful": useful, "idle": array - words - constants - useful, "words": words, "constants": constants}


def lost(spent: Mapping[str, int], work: Mapping[str, int]) -> dict[str, int]:
    """Cycles in the order of `LOST`, out of those by cause and the array's by what they were for."""
    both = {**spent, **work}
    return {name: both[name] for name in LOST}


def summed(tables: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Tables with the same names, added."""
    return {name: sum(table[name] for table in tables) for name in tables[0]}

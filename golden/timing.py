"""When the machine accepts each instruction: the table "Exact timing" of `docs/machine.md`.

A pure function of the instructions; no data decides how long anything takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain, End, Instruction, Output, Pass, Sync, Window
from twofold.golden.transfer_clock import TransferClock


@dataclass(frozen=True)
class Step:
    """One instruction's place in time (cycles).

    Parameters
    ----------
    fetched, accepted
        The columns f and a of the table.
    cycles
        From the acceptance of the instruction before to this one's; they add up to the inference's CYCLES.
    array, fetch, load, requantiser, memory
        The same cycles by what they waited for: the passes before, the fetch, the tile's columns, the requantiser,
        transfers.
    """

    fetched: int
    accepted: int
    cycles: int
    array: int
    fetch: int
    load: int
    requantiser: int
    memory: int = 0


class Clock:
    """Walks over a program, instruction by instruction.

    Parameters
    ----------
    config
        The build, for its latencies.
    transfers
        When transfers are done, in builds with a memory outside; None: always at once.
    """

    def __init__(self, config: ArrayConfig, transfers: TransferClock | None = None) -> None:
        self.config = config
        self.transfers = transfers
        self.fetched = 0
        self.taken = 0
        self.free = 0
        self.idle = 0
        self.accepted = 0
        self.window: Window | None = None
        if transfers is not None:
            # The list begins in the cycle before the first; the program, when its first lines are there.
            transfers.start(-1)
            self.fetched = transfers.ready(1) + 1

    def step(self, instruction: Instruction) -> Step:
        """Time of the next instruction."""
        config = self.config
        decoded = self.fetched + config.fetch_cycles
        ready = loaded = offered = max(decoded, self.accepted + 1)
        wait = isinstance(instruction, Drain | Output | End)
        free = 0 if isinstance(instruction, Window | Sync) else self.free
        loads = isinstance(instruction, Pass) and not instruction.kept
        if isinstance(instruction, Pass):
            if loads:
                # The tile's columns are read from the cycle on in which the tile before is taken.
                loaded = max(ready, max(decoded, self.taken) + instruction.groups + 1)
            wait = bool(instruction.wait)
        elif isinstance(instruction, Sync):
            # What it waits for is looked at a cycle earlier.
            ready = loaded = offered + 1
        settled = max(loaded, free, self.idle if wait else 0)
        accepted = max(settled, self._moved(instruction))
        busy = min(max(self.free, self.accepted), accepted)
        ready, loaded, settled = (min(max(mark, busy), accepted) for mark in (ready, loaded, settled))
        last = 1 if isinstance(instruction, End) else 0
        step = Step(
            fetched=self.fetched,
            accepted=accepted,
            cycles=accepted - self.accepted + last,
            array=busy - self.accepted,
            fetch=ready - busy + last,
            load=loaded - ready,
            requantiser=settled - loaded,
            memory=accepted - settled,
        )
        self._follow(instruction, accepted)
        if loads:
            self.taken = accepted
        # Behind a SYNC a line is looked at when that is accepted.
        self.fetched = max(offered, accepted - 1) if isinstance(instruction, Sync) else offered
        return step

    def _moved(self, instruction: Instruction) -> int:
        """The first cycle in which an instruction that waits for transfers can be accepted."""
        if self.transfers is None:
            return 0
        if isinstance(instruction, Sync):
            return self.transfers.ready(instruction.need) + 1
        return self.transfers.finished() if isinstance(instruction, End) else 0

    def _follow(self, instruction: Instruction, accepted: int) -> None:
        """What an accepted instruction makes the next ones wait for."""
        config, window = self.config, self.window
        self.accepted = accepted
        if isinstance(instruction, Window):
            self.window = instruction
        elif isinstance(instruction, Pass):
            streamed = window.streamed(instruction.chain) if window else 0
            self.free = accepted + max(streamed, config.min_pass)
        elif not isinstance(instruction, Sync):
            self.free = accepted + 1
        if isinstance(instruction, Drain):
            work = window.positions * instruction.position_cycles(config) if window else 0
            self.idle = accepted + config.array_latency + work + config.requant_latency
            if self.transfers is not None and window is not None:
                self.transfers.drain(accepted, self.idle, window, instruction)


def timing(
    config: ArrayConfig, program: Iterable[Instruction], transfers: TransferClock | None = None
) -> tuple[Step, ...]:
    """Times of every instruction of a program, from line 0 to END.

    Parameters
    ----------
    config, program
        The build and its program.
    transfers
        As in `Clock`.

    Returns
    -------
    One `Step` an instruction; the sum of their `cycles` is the machine's CYCLES register.
    """
    clock = Clock(config, transfers)
    return tuple(clock.step(instruction) for instruction in program)


def cycles(steps: Iterable[Step]) -> int:
    """Cycles of some instructions."""
    return sum(step.cycles for step in steps)

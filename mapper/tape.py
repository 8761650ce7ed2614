"""A program and its transfer list while they are written: who waits for whom, and where lines lie outside.

The list is sorted by the DRAINs that transfers wait for, so that none waits behind one that may go later. A program
line that needs a transfer comes behind a SYNC; as that transfer and all before it wait for DRAINs that stand before the
SYNC, there is no deadlock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain, Instruction, Section, Sync
from twofold.golden.transfers import Transfer, bus_beats, entry_beats
from twofold.mapper.checks import FitError
from twofold.mapper.hazards import NONE, Hazards, Key

#: Parts of the program memory, which is a ring of them.
_SEGMENTS = 4


@dataclass
class Pending:
    """A transfer whose place outside is known within its region only (beats)."""

    key: Key
    region: str
    transfer: Transfer


@dataclass
class Tape:
    """What is written so far.

    Attributes
    ----------
    program
        Instructions; those of SYNC have the key's transfer in `waits`, by their place.
    transfers
        In the order in which they were asked for.
    memories
        Who touched the chip's lines.
    drains
        DRAINs so far.
    """

    config: ArrayConfig
    program: list[Instruction] = field(default_factory=list)
    waits: dict[int, Key] = field(default_factory=dict)
    transfers: list[Pending] = field(default_factory=list)
    memories: Mapping[Section, Hazards] = field(
        default_factory=lambda: {kind: Hazards() for kind in (Section.FEATURE, Section.WEIGHT, Section.CHANNEL)}
    )
    drains: int = 0
    synced: Key = NONE
    _ends: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._segment()

    @property
    def released(self) -> int:
        """DRAINs after which what the program uses now is free: those so far and the next one."""
        return self.drains + 1

    def emit(self, instruction: Instruction) -> None:
        """Append an instruction."""
        if self._full():
            self._wait(self._segment())
        self.program.append(instruction)
        self.drains += isinstance(instruction, Drain)

    def sync(self, key: Key) -> None:
        """See that a transfer is done before what is emitted next."""
        if key > self.synced:
            self._wait(max(key, self._segment()) if self._full() else key)

    def _full(self) -> bool:
        """Whether one line of the program's segment is left: it waits for the next segment."""
        size = self.config.program_depth // _SEGMENTS
        if len(self.program) % size != size - 1:
            return False
        self._ends.append(self.drains)
        return True

    def _wait(self, key: Key) -> None:
        if key[0] > self.drains:
            raise AssertionError(
                f"Transfer {key} must wait for DRAINs before its SYNC, not for one behind {self.drains}"
            )
        self.synced = max(self.synced, key)
        self.waits[len(self.program)] = key
        self.program.append(Sync(need=0))

    def transfer(self, region: str, transfer: Transfer, least: int = 0) -> Key:
        """Ask for a transfer of lines of the feature, weight or channel memory that touch each other.

        Parameters
        ----------
        region, transfer
            What it moves; its `memory` counts from the region's first beat.
        least
            DRAINs that it waits for at least.
        """
        hazards = self.memories[transfer.kind]
        end = transfer.line + (transfer.rows - 1) * transfer.line_step + transfer.length
        key = self._ask(region, transfer, hazards.free(transfer.line, end, least))
        hazards.move(transfer.line, end, key)
        return key

    def _ask(self, region: str, transfer: Transfer, after: int) -> Key:
        key = (after, len(self.transfers))
        self.transfers.append(Pending(key, region, transfer))
        return key

    def _segment(self) -> Key:
        """The transfer of the next segment of the program, over the one that is as many before as there are."""
        size, number = self.config.program_depth // _SEGMENTS, len(self._ends)
        # What was fetched last of the segment that is overwritten came before the DRAIN behind it.
        after = self._ends[number - _SEGMENTS] + 1 if number >= _SEGMENTS else 0
        if after > self.drains:
            raise FitError(f"program_depth must be larger: {self.config.program_depth!r} lines hold no whole tile")
        beats = bus_beats(self.config, Section.PROGRAM)
        whole = Transfer(
            kind=Section.PROGRAM,
            memory=number * size * beats,
            line=number % _SEGMENTS * size,
            length=size,
        )
        return self._ask("program", whole, after)

    def sorted(self) -> list[Pending]:
        """The list in the order in which it is worked through."""
        return sorted(self.transfers, key=lambda one: one.key)

    def finished(self) -> tuple[Instruction, ...]:
        """The program, each SYNC with the transfers that it needs: one more than the place in the sorted list."""
        places = {one.key: number for number, one in enumerate(self.sorted())}
        needs = {place: places[key] + 1 for place, key in self.waits.items()}
        return tuple(Sync(need=needs[n]) if n in needs else one for n, one in enumerate(self.program))

    def list_beats(self) -> int:
        """Beats of the transfer list, its end included."""
        return (len(self.transfers) + 1) * entry_beats(self.config)

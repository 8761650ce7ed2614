"""When transfers are done, for a memory outside that answers after a stated latency, a beat a cycle.

The memory takes every address and every beat in the cycle in which it is offered. A burst's first beat comes `latency`
cycles after its address, or after the burst before it; a write is answered `latency` cycles after its last beat.
docs/machine.md, "Exact timing", says when the engine does what.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain, Section, Window
from twofold.golden.port_use import PortUse
from twofold.golden.store_clock import StoreClock
from twofold.golden.transfers import BURST_BEATS, OUTSTANDING, Transfer, bus_beats, entry_beats


@dataclass
class _Bursts:
    """One half of the master: runs of beats become bursts, at most `OUTSTANDING` of them without an answer.

    `ready`: the first cycle in which a run can be taken.
    """

    ready: int = 0
    stepped: int = 0
    ended: deque[int] = field(default_factory=deque)

    def take(self, cycle: int, address: int, count: int) -> Iterator[tuple[int, int]]:
        """A run is taken: when each burst's address is taken by the memory, and its beats.

        Whoever asks appends to `ended` the cycle in which each burst is answered before the next one is asked for.
        """
        step = cycle
        while count:
            size = min(count, BURST_BEATS - address % BURST_BEATS)
            step = max(step + 1, self.stepped + 1)
            if len(self.ended) == OUTSTANDING:
                step = max(step, self.ended.popleft() + 1)
            self.stepped = step
            count, address = count - size, address + size
            if not count:
                self.ready = step
            yield step + 1, size


class TransferClock:
    """Walks through a transfer list as the engine does.

    Parameters
    ----------
    config
        The build.
    entries
        The list, without its end.
    base
        Address (beats) of the list.
    latency
        Of the memory (cycles), at least 1.

    Attributes
    ----------
    port
        Who uses feature memory's port; whoever accepts drains adds them.
    drained
        For each DRAIN accepted, the cycle from which on its writes can be read.
    done
        For each transfer, the first cycle in which it is counted as done, as far as the list was walked.
    """

    def __init__(self, config: ArrayConfig, entries: Sequence[Transfer], latency: int, base: int) -> None:
        self.config, self.entries, self.latency = config, entries, latency
        self.port = PortUse(config)
        self.drained: list[int] = []
        self.done: list[int] = []
        self._reads = _Bursts()
        self._base = base
        # The first cycle in which an entry is looked at, or is known; that of the last beat that came, and in which the
        # last line was written; from which on a portion can be queued, and all that was asked for is there.
        self._take = self._known = self._beat = self._written = self._queue = self._quiet = 0

    def start(self, cycle: int) -> None:
        """The engine is started in this cycle: its list is asked for in the next one."""
        self._reads = _Bursts()
        self._beat = self._written = self._queue = self._quiet = cycle
        self._take = self._entry(cycle + 1, 0)

    def drain(self, accepted: int, idle: int, window: Window, drain: Drain) -> None:
        """A DRAIN is accepted in one cycle, and its writes can be read from another one on."""
        self.port.add(accepted, window, drain)
        self.drained.append(idle)

    def ready(self, number: int) -> int:
        """The first cycle in which so many transfers are done; the drains that they wait for have been added.

        Raises
        ------
        IndexError
            If the list has fewer.
        """
        while len(self.done) < number:
            self._walk(len(self.done))
        return self.done[number - 1]

    def finished(self) -> int:
        """The first cycle in which the end of the list is known and all is done."""
        if self.entries:
            self.ready(len(self.entries))
        return max(max(self._take, self._known) + 1, self._quiet)

    def _walk(self, number: int) -> None:
        """The next transfer."""
        entry = self.entries[number]
        take = max(self._take, self._known)
        if entry.after:
            take = max(take, self.drained[entry.after - 1] + 1)
        if entry.store:
            take = max(take, self._quiet)
        (self._store if entry.store else self._load)(entry, number, take)

    def _entry(self, cycle: int, number: int) -> int:
        """Ask for entry `number` from a cycle on; returns the cycle behind."""
        size = entry_beats(self.config)
        asked = max(cycle, self._queue, self._reads.ready)
        # It waits in the queue until the last beat of what was asked for before is there.
        self._queue = max(asked + 1, self._beat) + 1
        self._stream(asked, self._base + number * size, size)
        self._known = self._beat + 2
        return asked + 1

    def _stream(self, cycle: int, address: int, count: int) -> None:
        """Beats that nothing holds up once they come."""
        for taken, size in self._reads.take(cycle, address, count):
            self._beat = max(taken + self.latency, self._beat + 1, self._written) + size - 1
            self._reads.ended.append(self._beat)

    def _load(self, entry: Transfer, number: int, take: int) -> None:
        cycle = self._entry(take + 1, number + 1)
        beats = entry.length * bus_beats(self.config, entry.kind)
        for row in range(entry.rows):
            asked = max(cycle, self._reads.ready)
            cycle = asked + 1
            address = self._base + entry.memory + row * entry.memory_step
            if entry.kind is Section.FEATURE:
                self._feature_lines(asked, address, beats)
            else:
                self._stream(asked, address, beats)
                self._written = self._beat + 1
        self._take = cycle
        self._quiet = self._written + 2
        self.done.append(self._written + 2)

    def _feature_lines(self, cycle: int, address: int, count: int) -> None:
        """A row of lines, which are written when the port is free; one that waits holds up the beat behind it."""
        left = beats = bus_beats(self.config, Section.FEATURE)
        for taken, size in self._reads.take(cycle, address, count):
            beat = max(taken + self.latency, self._beat + 1)
            for _ in range(size):
                beat = max(beat, self._written)
                left -= 1
                if not left:
                    left, self._written = beats, beat + 1
                    while not self.port.free(self._written):
                        self._written += 1
                self._beat = beat
                beat += 1
            self._reads.ended.append(self._beat)

    def _store(self, entry: Transfer, number: int, take: int) -> None:
        cycle = self._entry(take + 1, number + 1)
        store = StoreClock(self.config, self.port, self.latency)
        answered = store.run(cycle, entry, self._base)
        self._take = answered + 1
        self.done.append(answered + 1)

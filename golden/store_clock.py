"""When a STORE is answered, cycle by cycle: lines read where the port is free, beats and addresses written."""

from collections import deque

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Section
from twofold.golden.port_use import PortUse
from twofold.golden.transfers import BURST_BEATS, OUTSTANDING, Transfer, bus_beats


class StoreClock:
    """A STORE under way.

    At most two lines are read ahead; addresses and beats go their own pace, one of each a cycle. A burst is answered
    `latency` cycles after its address and its last beat are taken, one burst a cycle.

    Parameters
    ----------
    config
        The build.
    port
        Who else uses feature memory's port.
    latency
        Of the memory outside.
    """

    def __init__(self, config: ArrayConfig, port: PortUse, latency: int) -> None:
        self.port = port
        self.line_beats = bus_beats(config, Section.FEATURE)
        self.bus = _Answers(latency)
        # Lines to be read, read and not given, on their way out of the memory, in registers; beats given of the first.
        self.wanted = self.held = self.standing = self.registers = self.beat = 0
        # Beats of the run that are not given, and whether one is offered to the bus.
        self.left, self.waits = 0, False
        # Of the run what no burst was made of, bursts without an answer, and beats of the one that is offered.
        self.address = self.addressed = self.unanswered = self.offered = 0

    def run(self, cycle: int, entry: Transfer, base: int) -> int:
        """Walk on from the cycle in which the first row can be taken.

        Returns
        -------
        The cycle in which the engine knows that all is answered.
        """
        self.wanted = entry.rows * entry.length
        rows = [base + entry.memory + row * entry.memory_step for row in range(entry.rows)]
        count = entry.length * self.line_beats
        while rows or self._busy():
            begins = self._step(cycle)
            if rows and begins:
                self.address, self.addressed, self.left = rows.pop(0), count, count
            cycle += 1
        return cycle

    def _busy(self) -> bool:
        lines, beats = self.wanted or self.held, self.left or self.waits
        return bool(lines or beats or self.addressed or self.unanswered)

    def _step(self, cycle: int) -> bool:
        """A cycle; returns whether a run can be taken in it."""
        taken = bool(self.registers and self.left)
        free = not self.left or (taken and self.left == 1)
        begins = self._burst(cycle, free)
        if self.waits:
            self.bus.beat(cycle)
        self.waits = taken
        self.left -= taken
        self._lines(cycle, taken)
        return begins

    def _burst(self, cycle: int, free: bool) -> bool:
        """The next burst of the run, if there is one."""
        if self.offered:
            self.bus.address(cycle, self.offered)
        ended = self.bus.answered(cycle)
        self.offered = 0
        if self.addressed and self.unanswered < OUTSTANDING:
            self.offered = min(self.addressed, BURST_BEATS - self.address % BURST_BEATS)
            self.addressed -= self.offered
            self.address += self.offered
        self.unanswered += bool(self.offered) - ended
        return free and not self.addressed

    def _lines(self, cycle: int, taken: bool) -> None:
        """Lines out of feature memory."""
        leaves = taken and self.beat == self.line_beats - 1
        if taken:
            self.beat = 0 if leaves else self.beat + 1
        got = bool(self.wanted and self.held < 2 and self.port.free(cycle))
        self.registers += self.standing - leaves
        self.standing = int(got)
        self.held += got - leaves
        self.wanted -= got


class _Answers:
    """The bus and the memory: which burst is answered when."""

    def __init__(self, latency: int) -> None:
        self.latency = latency
        self.sizes: deque[int] = deque()
        self.due: deque[int] = deque()
        self.beats = 0

    def address(self, cycle: int, size: int) -> None:
        """An address is taken."""
        self.sizes.append(size)
        self._settle(cycle)

    def beat(self, cycle: int) -> None:
        """A beat is taken."""
        self.beats += 1
        self._settle(cycle)

    def _settle(self, cycle: int) -> None:
        while self.sizes and self.beats >= self.sizes[0]:
            self.beats -= self.sizes.popleft()
            self.due.append(cycle + self.latency)

    def answered(self, cycle: int) -> bool:
        """Whether a burst is answered in this cycle."""
        if not self.due or self.due[0] > cycle:
            return False
        self.due.popleft()
        return True

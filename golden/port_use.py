"""In which cycles drains use the port of feature memory that transfers take what is left of."""

from bisect import bisect_right
from dataclasses import dataclass

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain, Window


@dataclass(frozen=True)
class _Pattern:
    """A drain's positions: the first one's first group is read in cycle `begin`, and `count` take `period` cycles each.

    `starts` and `ends` are the cycles of a position in which lines begin and end; with `skip` a line is read at the
    start of each.
    """

    begin: int
    count: int
    period: int
    starts: frozenset[int]
    ends: frozenset[int]
    skip: bool


class PortUse:
    """The port's use by all drains accepted so far.

    Parameters
    ----------
    config
        The build.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self.patterns: list[_Pattern] = []
        self.begins: list[int] = []

    def add(self, accepted: int, window: Window, drain: Drain) -> None:
        """A drain that is accepted in a cycle."""
        units, lanes = self.config.requant_units, self.config.rows
        starts, ends, cycle, lane, begins = set(), set(), 0, drain.lane, True
        for group in range(drain.groups + 1):
            lane += units
            last = group == drain.groups or lane % lanes == 0
            if begins:
                starts.add(cycle)
                cycle += bool(drain.skip and last)
            if last:
                ends.add(cycle)
            begins = last
            cycle += 1
        begin = accepted + self.config.array_latency
        pattern = _Pattern(begin, window.positions, cycle, frozenset(starts), frozenset(ends), bool(drain.skip))
        self.patterns.append(pattern)
        self.begins.append(begin)

    def free(self, cycle: int) -> bool:
        """Whether the port is left in a cycle: nobody uses it, and no skip's line stands to be looked at."""
        number = bisect_right(self.begins, cycle) - 1
        if number < 0:
            return True
        one = self.patterns[number]
        if self._writes(one, cycle):
            return False
        return not (one.skip and (self._reads(one, cycle) or self._reads(one, cycle - 1)))

    def _reads(self, one: _Pattern, cycle: int) -> bool:
        """A skip's line is read when its line begins, or a cycle later if one is written then."""
        if self._writes(one, cycle):
            return False
        return self._wanted(one, cycle) or (self._wanted(one, cycle - 1) and self._writes(one, cycle - 1))

    def _writes(self, one: _Pattern, cycle: int) -> bool:
        """A line is written that late after its last group was read."""
        position, at = divmod(cycle - one.begin - self.config.requant_latency + 1, one.period)
        return 0 <= position < one.count and at in one.ends

    @staticmethod
    def _wanted(one: _Pattern, cycle: int) -> bool:
        position, at = divmod(cycle - one.begin, one.period)
        return 0 <= position < one.count and at in one.starts

"""Weight and channel lines that come from outside: a memory of the chip as a ring of blocks, the oldest goes first."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from twofold.golden.isa import Section, line_count
from twofold.golden.transfers import Transfer, bus_beats
from twofold.mapper.checks import FitError
from twofold.mapper.hazards import Key
from twofold.mapper.tape import Tape


@dataclass
class Ring:
    """A memory of the chip and the lines outside that it holds some of.

    Attributes
    ----------
    lines
        All lines outside, in the order of first use.
    """

    tape: Tape
    kind: Section
    lines: list[int] = field(default_factory=list)
    _outside: dict[Hashable, tuple[int, int]] = field(default_factory=dict)
    _inside: dict[Hashable, tuple[int, int]] = field(default_factory=dict)
    _next: int = 0

    @property
    def region(self) -> str:
        """Name of the region outside."""
        return self.kind.name.lower()

    def hold(self, name: Hashable, block: tuple[int, ...], what: str) -> tuple[int, Key]:
        """See that the chip has a block of lines until the next DRAIN; it is fetched if it has not.

        Parameters
        ----------
        name, block
            The block, which is the same each time.
        what
            For an error.

        Returns
        -------
        Its first line on the chip, and the transfer that must be done before it is used.

        Raises
        ------
        FitError
            If it is larger than the memory.
        """
        if name not in self._outside:
            self._outside[name] = (len(self.lines), len(block))
            self.lines += block
        if name not in self._inside:
            self._fetch(name, len(block), what)
        begin, end = self._inside[name]
        return begin, self.tape.memories[self.kind].use(begin, end, self.tape.released)

    def _fetch(self, name: Hashable, count: int, what: str) -> None:
        config, depth = self.tape.config, line_count(self.tape.config, self.kind)
        if count > depth:
            key = f"{self.region}_depth"
            raise FitError(f"{what}: {key} must be at least {count}, not {depth!r}", count - depth)
        begin = self._next if self._next + count <= depth else 0
        end = self._next = begin + count
        self._inside = {key: span for key, span in self._inside.items() if span[1] <= begin or end <= span[0]}
        place = self._outside[name][0] * bus_beats(config, self.kind)
        self.tape.transfer(self.region, Transfer(kind=self.kind, memory=place, line=begin, length=count))
        self._inside[name] = (begin, end)

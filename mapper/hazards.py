"""Who touched which lines of a memory last: what a transfer must wait for, and what the program must."""

from typing import NamedTuple

#: A transfer's place in the list: DRAINs that it waits for, then its number. The list is sorted by it.
Key = tuple[int, int]
#: Before the first transfer.
NONE: Key = (-1, -1)


class Touch(NamedTuple):
    """The last ones to touch lines `begin` to `end` (the latter not included).

    `released`: DRAINs after which no pass or drain needs the lines as they are. `moved`: the last transfer.
    """

    begin: int
    end: int
    released: int
    moved: Key


class Hazards:
    """A memory of the chip, line by line."""

    def __init__(self) -> None:
        self.touches: list[Touch] = []

    def _over(self, begin: int, end: int) -> list[Touch]:
        return [one for one in self.touches if one.begin < end and begin < one.end]

    def _put(self, touch: Touch) -> None:
        kept = [one for one in self.touches if one.begin < touch.begin or touch.end < one.end]
        self.touches = [*kept, touch]

    def use(self, begin: int, end: int, released: int) -> Key:
        """The program reads or writes lines, until `released` DRAINs are done.

        Returns
        -------
        The transfer that must be done before.
        """
        over = self._over(begin, end)
        moved = max((one.moved for one in over), default=NONE)
        self._put(Touch(begin, end, max([released, *(one.released for one in over)]), moved))
        return moved

    def free(self, begin: int, end: int, least: int = 0) -> int:
        """DRAINs, at least `least`, that must be done before a transfer moves lines."""
        return max([least, *(one.released for one in self._over(begin, end))])

    def move(self, begin: int, end: int, key: Key) -> None:
        """A transfer moves lines. It stands behind all that moved them before."""
        self._put(Touch(begin, end, key[0], key))

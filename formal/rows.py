"""The lines of a transfer as proofs follow them."""

from typing import NamedTuple

from amaranth import Module, Mux, Signal, Value

from twofold.formal.checker import Checker


class WalkedRows:
    """The lines of a transfer: line k of row r is ``line + r * line_step + k``; `rows` and `length` are minus one.

    Parameters
    ----------
    m
        The checker's module.
    place
        Of `hdl.line_walk.rectangle`: what is begun with.
    begin
        In this cycle.
    """

    def __init__(self, m: Module, place: Value, begin: Value) -> None:
        self.place = Signal.like(place, name="given_place", reset_less=True)
        with m.If(begin):
            m.d.sync += self.place.eq(place)

    def after(self, at: "WalkedLine") -> "WalkedLine":
        """The line behind a line."""
        end = at.k == self.place.length
        row = Mux(end, at.row + self.place.line_step, at.row)
        return WalkedLine(
            Mux(end, at.r + 1, at.r)[: len(at.r)],
            Mux(end, 0, at.k + 1)[: len(at.k)],
            row[: len(at.row)],
            at.over | self.last(at),
        )

    def last(self, at: "WalkedLine") -> Value:
        """Whether it is the last one."""
        return (at.r == self.place.rows) & (at.k == self.place.length)

    def is_at(self, checker: Checker, at: "WalkedLine") -> Value:
        """Whether the component's walk stands there; it may be looked at once a checker."""
        place = self.place
        seen = {
            name: checker.peek(f"walk.{name}", len(shape))
            for name, shape in (
                ("line", place.line),
                ("row", place.line),
                ("rows", place.rows),
                ("column", place.length),
                ("row_step", place.line_step),
                ("row_length", place.length),
            )
        }
        return (
            (seen["line"] == at.line)
            & (seen["row"] == at.row)
            & (seen["rows"] == place.rows - at.r)
            & (at.r <= place.rows)
            & (seen["column"] == place.length - at.k)
            & (at.k <= place.length)
            & (seen["row_step"] == place.line_step)
            & (seen["row_length"] == place.length)
        )


class WalkedLine(NamedTuple):
    """Where a walk stands: row, place in it, the row's first line; or behind the last one."""

    r: Value
    k: Value
    row: Value
    over: Value

    @property
    def line(self) -> Value:
        """The line."""
        return (self.row + self.k)[: len(self.row)]

"""Integers of some bits, with a sign or without: their range."""


class NumberFormat:
    """What has `bits`, in two's complement where it is `signed`."""

    bits: int
    signed: bool

    @property
    def low(self) -> int:
        """Least integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - self.signed)) - 1

"""What a host sees of one inference, whichever simulator ran it."""

from dataclasses import dataclass

from twofold.golden import isa


@dataclass(frozen=True)
class Inference:
    """What one inference gave.

    Parameters
    ----------
    frames
        Beats of each output frame, one frame an OUTPUT instruction.
    status, cycles, passes
        The registers after it.
    """

    frames: tuple[tuple[int, ...], ...]
    status: int
    cycles: int
    passes: int

    @property
    def error(self) -> isa.Error:
        """Error field of the status register."""
        return error_of(self.status)


def error_of(status: int) -> isa.Error:
    """Error field of the status register."""
    return isa.Error(isa.unpack(isa.STATUS_FIELDS, status)["error"])

"""What a host sees of one inference, whichever simulator ran it."""

from dataclasses import dataclass

from twofold.golden.registers import Error, Status


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
    def error(self) -> Error:
        """Error field of the status register."""
        return Status.decode(self.status).error

"""A machine as a host in Python sees it, wherever it is: simulated, at a serial line, beside a Zynq's processor."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import MACHINE_VERSION, ArrayConfig
from twofold.golden.image import Image, PlacedTensor, input_frame, read_outputs
from twofold.golden.isa import Section, line_beats
from twofold.golden.outside_tensors import input_content, span, tensor_of
from twofold.golden.registers import CONTROL, ID_VALUE, MODE, Error, Status

#: Reads of the status register after which an inference whose output has come must have ended; and for each cycle of
#: one that sends none: a read takes a cycle at least, and the memory outside may be slow.
POLLS, PATIENCE = 10_000, 4


class Link(Protocol):
    """How a host reaches a machine: `boards.host.Board`, `boards.pynq.PynqLink`, `sim.live.LiveMachine`."""

    def read(self, register: str) -> int:
        """A register's value (`golden.registers.EVERY_REGISTER`)."""

    def write(self, register: str, value: int) -> None:
        """Set a register."""

    def send(self, beats: Sequence[int]) -> None:
        """Send a frame and wait until the machine has taken it."""

    def receive(self, count: int) -> tuple[int, ...]:
        """Wait for an output frame, of so many beats.

        Raises
        ------
        TimeoutError
            If it does not come.
        """

    def close(self) -> None:
        """Give back what it holds."""


@runtime_checkable
class OutsideLink(Link, Protocol):
    """One that reaches the machine's memory outside, too: `boards.pynq.PynqLink`, `sim.live.LiveMachine`."""

    def reserve(self, size: int) -> int:
        """Reserve so many bytes instead of what was reserved before; their address as the machine has it.

        It is a multiple of 4096. What one side writes there the other one reads.
        """

    def fill(self, place: int, content: bytes) -> None:
        """Write whole words of 32 bits, from byte `place` of what is reserved on."""

    def fetch(self, place: int, count: int) -> bytes:
        """Read so many bytes, whole words of 32 bits, from byte `place` of what is reserved on."""


class MachineError(RuntimeError):
    """A machine reports an error.

    Parameters
    ----------
    code
        Of its status register.
    """

    def __init__(self, code: Error) -> None:
        super().__init__(f"Machine must report no error, not {code.name}: {code.meaning}")
        self.code = code


class Device:
    """A machine that runs inferences; ``with Device(link) as device`` closes the link at the end.

    Parameters
    ----------
    link
        To the machine. Whatever error it has is cleared.

    Raises
    ------
    ValueError
        If there is no machine of this version at the link, which is then closed.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self._image: Image | None = None
        try:
            for register, right in (("ID", ID_VALUE), ("VERSION", MACHINE_VERSION)):
                found = link.read(register)
                if found != right:
                    raise ValueError(f"{register} of the machine must be {right:#x}, not {found:#x}")
            #: Hash of its build.
            self.build = link.read("BUILD")
            self._clear()
            link.write("MODE", MODE.pack({"automatic": 1}))
        except BaseException:
            link.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the link."""
        self.link.close()

    @property
    def status(self) -> Status:
        """The status register."""
        return Status.decode(self.link.read("STATUS"))

    @property
    def cycles(self) -> int:
        """Cycles of the last inference."""
        return self.link.read("CYCLES")

    @property
    def passes(self) -> int:
        """Passes of the last inference."""
        return self.link.read("PASSES")

    @property
    def stalls(self) -> int:
        """Cycles of the last inference in which the array waited for the memory outside.

        Raises
        ------
        ValueError
            If the machine has none.
        """
        return self.link.read("STALLS")

    def load(self, image: Image) -> None:
        """Load an image.

        Raises
        ------
        ValueError
            If it is for another build, or for one with a memory outside, which the link does not reach.
        MachineError
            If the machine refuses it.
        """
        if image.config.build_hash != self.build:
            raise ValueError(f"Build of the machine must be {image.config.build_hash:08x}, not '{self.build:08x}'")
        outside = self._outside_link() if image.outside else None
        self._image = None
        self._clear()
        if outside and image.outside:
            self.link.write("MEMORY", outside.reserve(image.outside.size))
            outside.fill(0, image.outside.content)
        self.link.send(image.beats)
        self._check()
        self._image = image

    def run(self, x: NDArray[np.integer]) -> NDArray[np.int64]:
        """The only output of an inference, or the first of several: `run_all`."""
        return self.run_all(x)[0]

    def run_all(self, x: NDArray[np.integer]) -> tuple[NDArray[np.int64], ...]:
        """Run an inference.

        Parameters
        ----------
        x : integers, shape (C, H, W)
            Activations within the input's number format.

        Returns
        -------
        int64, shape (C, H, W), or of the output's `order`, for each of the network's outputs

        Raises
        ------
        MachineError
            If the machine reports an error; the next inference may run.
        TimeoutError
            If it does not answer.
        TypeError, ValueError
            If the input is not what the network takes, or none is loaded.
        """
        image = self._image
        if image is None:
            raise ValueError("Image must be loaded before an inference, none is")
        beats = [] if image.input.outside else input_frame(image, x)
        content = input_content(image, x) if image.input.outside else b""
        self._clear()
        if image.input.outside:
            self._outside_link().fill(span(image.config, image.input)[0], content)
            self.link.write("CONTROL", CONTROL.pack({"start": 1, "clear": 0}))
        else:
            self.link.send(beats)
        self._check()
        width = line_beats(image.config, Section.FEATURE)
        try:
            frames = [self.link.receive(one.lines(image.config) * width) for one in image.outputs if not one.outside]
        except TimeoutError:
            self._check()
            raise
        self._wait(POLLS if frames else POLLS + PATIENCE * image.cycles)
        self._check()
        return self._outputs(image, frames)

    def _wait(self, polls: int) -> None:
        """Until the inference has ended."""
        for _ in range(polls):
            if not self.status.busy:
                return
        raise TimeoutError(f"Machine must end an inference, not be busy after {polls} reads")

    def _outputs(self, image: Image, frames: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], ...]:
        """Those of the frames, and those that lie outside."""
        sent = iter(read_outputs(image, frames))
        return tuple(self._fetched(image.config, one) if one.outside else next(sent) for one in image.outputs)

    def _fetched(self, config: ArrayConfig, placed: PlacedTensor) -> NDArray[np.int64]:
        """An output that lies outside."""
        return placed.given(tensor_of(config, placed, self._outside_link().fetch(*span(config, placed))))

    def _outside_link(self) -> OutsideLink:
        if not isinstance(self.link, OutsideLink):
            raise ValueError(f"Link must reach the memory outside of the build, not be a {type(self.link).__name__}")
        return self.link

    def _clear(self) -> None:
        self.link.write("CONTROL", CONTROL.pack({"start": 0, "clear": 1}))

    def _check(self) -> None:
        error = self.status.error
        if error is not Error.NONE:
            raise MachineError(error)

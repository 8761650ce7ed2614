"""The memory outside that predictions are made for (`golden.transfer_clock`), on the bus of a component."""

from collections import deque
from collections.abc import Callable

from twofold.golden.config import ArrayConfig
from twofold.golden.transfers import ADDRESS_BITS
from twofold.sim.component import Driver


class SteadyMemory:
    """Takes every address and beat at once; the first beat of a burst, and a write's answer, come after `latency`.

    Parameters
    ----------
    driver
        The component.
    config
        The build.
    latency
        Cycles, at least 1.
    word
        What stands in a beat outside.
    """

    def __init__(self, driver: Driver, config: ArrayConfig, latency: int, word: Callable[[int], int]):
        self.driver, self.latency, self.word = driver, latency, word
        self.bytes = config.bus_bits // 8
        #: Reads: the first cycle in which a beat can come, its address, whether it is the last one of its burst.
        self.reads: deque[tuple[int, int, bool]] = deque()
        self.sizes: deque[int] = deque()
        self.answers: deque[int] = deque()
        self.beats = 0
        driver.set(axi__arready=1, axi__awready=1, axi__wready=1, axi__rresp=0, axi__bresp=0)

    def offer(self, cycle: int) -> None:
        """What it drives in a cycle."""
        reads, answers = self.reads, self.answers
        valid = bool(reads) and reads[0][0] <= cycle
        if valid:
            self.driver.set(axi__rdata=self.word(reads[0][1]), axi__rlast=reads[0][2])
        self.driver.set(axi__rvalid=valid, axi__bvalid=bool(answers) and answers[0] <= cycle)

    def take(self, cycle: int) -> None:
        """What it is given in a cycle, and what of its own is taken."""
        get = self.driver.get
        if get("axi__rvalid") and get("axi__rready"):
            self.reads.popleft()
        if get("axi__bvalid") and get("axi__bready"):
            self.answers.popleft()
        if get("axi__arvalid"):
            first, size = get("axi__araddr") % (1 << ADDRESS_BITS) // self.bytes, get("axi__arlen") + 1
            self.reads.extend((cycle + self.latency, first + n, n == size - 1) for n in range(size))
        if get("axi__awvalid"):
            self.sizes.append(get("axi__awlen") + 1)
        self.beats += get("axi__wvalid")
        while self.sizes and self.beats >= self.sizes[0]:
            self.beats -= self.sizes.popleft()
            self.answers.append(cycle + self.latency)

"""All properties, in the order in which they are proven: long proofs first."""

from twofold.formal import (
    accumulators,
    array,
    compute,
    decoder,
    loader,
    registers,
    requantiser,
    sender,
    sequencer,
    tile,
    timing,
    window,
    wiring,
)
from twofold.formal.checker import Checker

PROPERTIES: tuple[type[Checker], ...] = (
    *requantiser.PROPERTIES,
    *window.PROPERTIES,
    *array.PROPERTIES,
    *tile.PROPERTIES,
    *accumulators.PROPERTIES,
    *compute.PROPERTIES,
    *decoder.PROPERTIES,
    *loader.PROPERTIES,
    *sequencer.PROPERTIES,
    *timing.PROPERTIES,
    *sender.PROPERTIES,
    *registers.PROPERTIES,
    *wiring.PROPERTIES,
)

"""All properties, in the order in which they are proven: long proofs first."""

from formal import array, decoder, loader, registers, requantiser, sender, sequencer, window
from formal.checker import Checker

PROPERTIES: tuple[type[Checker], ...] = (
    *requantiser.PROPERTIES,
    *window.PROPERTIES,
    *array.PROPERTIES,
    *decoder.PROPERTIES,
    *loader.PROPERTIES,
    *sequencer.PROPERTIES,
    *sender.PROPERTIES,
    *registers.PROPERTIES,
)

"""All properties, in the order in which they are proven: long proofs first."""

from twofold.formal import (
    accumulators,
    array,
    compute,
    decoder,
    line_writer,
    loader,
    registers,
    requant_unit,
    requantiser,
    sender,
    sequencer,
    skip_reader,
    table_lookup,
    tile,
    timing,
    window,
    wiring,
)
from twofold.formal.checker import Checker

PROPERTIES: tuple[type[Checker], ...] = (
    *requant_unit.PROPERTIES,
    *requantiser.PROPERTIES,
    *line_writer.PROPERTIES,
    *skip_reader.PROPERTIES,
    *table_lookup.PROPERTIES,
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

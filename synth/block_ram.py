"""How many of an ECP5's block RAMs a build's memories take, without synthesising it."""

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Section, line_bits, line_count

#: (bits a line, lines) that one DP16KD can be.
SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))


def blocks(bits: int, lines: int) -> int:
    """Block RAMs of a memory, all of one shape."""
    return min(-(-bits // width) * -(-lines // depth) for width, depth in SHAPES)


def ecp5_blocks(config: ArrayConfig) -> int:
    """Block RAMs of a build: its four memories, the tables of every requantisation unit, and an accumulator memory a
    column and bank."""
    kinds = (Section.FEATURE, Section.WEIGHT, Section.CHANNEL, Section.PROGRAM)
    memories = sum(blocks(line_bits(config, kind), line_count(config, kind)) for kind in kinds)
    if config.tables:
        memories += config.requant_units * blocks(config.act_bits, config.table_lines)
    return memories + 2 * config.cols * blocks(config.acc_width, config.acc_depth)

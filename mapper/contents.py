"""What a network puts into the memories besides programs and weights: point sets, tables, channels."""

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Channel, Digit, encode_channels, point_record
from twofold.golden.network import Layer, Network
from twofold.golden.rounding import csd
from twofold.mapper.checks import used_points
from twofold.mapper.schedule import needs_clear, negative_block
from twofold.mapper.tiles import OutputTile


class BlockStore:
    """A memory whose equal blocks of lines are kept once."""

    def __init__(self) -> None:
        self.lines: list[int] = []
        self.blocks: dict[tuple[int, ...], int] = {}

    def add(self, block: tuple[int, ...]) -> int:
        """First line of the block."""
        if block not in self.blocks:
            self.blocks[block] = len(self.lines)
            self.lines += block
        return self.blocks[block]

    def add_weights(self, config: ArrayConfig, tile: OutputTile) -> None:
        """All weight blocks that an output tile needs."""
        for one in tile.passes:
            self.add(one.block)
        if needs_clear(tile):
            self.add(negative_block(config))


def signed_tensors(network: Network) -> frozenset[str]:
    """Names of the tensors whose activations are two's complement."""
    return frozenset(name for name, tensor in network.tensors.items() if tensor.signed)


def point_lines(config: ArrayConfig, network: Network) -> tuple[dict[str, int], tuple[int, ...]]:
    """Number of every point set that is used, and the lines of the point memory. Equal sets are kept once."""
    numbers: dict[tuple[int, ...], int] = {}
    sets = {}
    lines: list[int] = []
    for name in used_points(network):
        points = network.point_sets[name]
        sets[name] = numbers.setdefault(points.levels, len(numbers))
        if config.pe == "subset" and len(lines) == sets[name] * config.fmt.point_count:
            record = point_record(config)
            lines += [record.pack(dict(zip(record.fields, row, strict=True))) for row in points.rows]
    return sets, tuple(lines)


def table_lines(config: ArrayConfig, network: Network) -> tuple[dict[str, int], tuple[int, ...]]:
    """Number of the table of every layer that has one, and the lines of their memory. Equal tables are kept once."""
    store, numbers = BlockStore(), {}
    for layer in network.layers:
        if layer.table is not None:
            words = layer.table.words(config.table_bits, config.act_bits)
            numbers[layer.name] = store.add(words) >> config.table_bits
    return numbers, tuple(store.lines)


def channel_block(config: ArrayConfig, layer: Layer, tile: OutputTile) -> tuple[int, ...]:
    """Channel lines of an output tile: `requant_units` channels a line, the last one padded with zeros."""
    half, units = 1 << (config.acc_width - 1), config.requant_units
    channels = []
    for column in range(tile.columns):
        number = tile.start + column
        bias = int(layer.bias[number]) + int(tile.correction[column])
        digits = tuple(Digit(shift, int(sign < 0), on=1) for sign, shift in csd(int(layer.multiplier[number])))
        channels.append(Channel((bias + half) % (2 * half) - half, digits, int(layer.right[number])))
    return tuple(encode_channels(config, channels[n : n + units]) for n in range(0, tile.columns, units))

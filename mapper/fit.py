"""Which builds a network fits, and the smallest build that does."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import product

from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image
from twofold.golden.isa import Section, Window, decode, line_bits, line_count, section_kinds
from twofold.golden.network import Network
from twofold.mapper.bounds import acc_width
from twofold.mapper.checks import reads_narrow, table_needs
from twofold.mapper.compiler import compile_network

#: The key of each memory whose depth is a build's choice.
DEPTHS = {
    Section.FEATURE: "feature_depth",
    Section.WEIGHT: "weight_depth",
    Section.CHANNEL: "channel_depth",
    Section.PROGRAM: "program_depth",
}
_DEEPEST = 1 << 24
_SHALLOWEST = 4
_WIDEST = 48


@dataclass(frozen=True)
class Fit:
    """What became of a network on one build.

    Parameters
    ----------
    config
        The build.
    reason
        Why the network does not fit; empty if it does.
    image
        The network on this build, or on the same one with deeper memories and a wider accumulator; None if those do
        not help.
    smallest
        The build with the memories and the accumulator that the image needs; None without an image.
    """

    config: ArrayConfig
    reason: str
    image: Image | None
    smallest: ArrayConfig | None

    @property
    def fits(self) -> bool:
        """Whether the network fits the build as it is."""
        return not self.reason


def try_build(network: Network, config: ArrayConfig) -> Fit:
    """Map a network to a build, with deeper memories if it does not fit.

    A build with a memory outside stays as it is: bands are as high as its memories let them be.
    """
    try:
        image, reason = compile_network(network, config), ""
    except ValueError as error:
        reason, deeper = str(error), None if config.external else _deeper(network, config)
        if deeper is None:
            return Fit(config, reason, None, None)
        image = deeper
    return Fit(config, reason, image, config if config.external else _smallest(network, config, image))


def best(fits: Iterable[Fit]) -> Fit | None:
    """The build to take: of those that fit the one of fewest PEs and memory bits, else the one that is least short."""
    able = [fit for fit in fits if fit.smallest is not None]
    return min(able, key=_cost, default=None)


def _cost(fit: Fit) -> tuple[int, ...]:
    assert fit.smallest is not None
    cells, bits = fit.config.rows * fit.config.cols, memory_bits(fit.smallest)
    if fit.fits:
        return 0, cells, bits
    return 1, bits - memory_bits(fit.config), cells


def memory_bits(config: ArrayConfig) -> int:
    """Bits of all memories of a build, the two accumulator banks included."""
    kinds = [kind for kind in section_kinds(config) if kind is not Section.TABLES]
    lines = sum(line_bits(config, kind) * line_count(config, kind) for kind in kinds)
    # Every unit of the requantiser has its own copy of the tables.
    lines += config.requant_units * config.act_bits * config.table_lines
    return lines + 2 * config.acc_depth * config.cols * config.acc_width


def toml(config: ArrayConfig) -> str:
    """The build as a file of `configs/`: the keys that have no default or another value."""
    values = {field.name: (getattr(config, field.name), field.default) for field in fields(config)}
    return "".join(f"{key} = {_toml(value)}\n" for key, (value, default) in values.items() if value != default)


def _toml(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _deeper(network: Network, config: ArrayConfig) -> Image | None:
    """The network on the build with deeper memories and its tables; feature memory, which a folded input could fill, if
    it must."""
    width = max([config.acc_width, *(acc_width(config, network, layer) for layer in network.layers)])
    depths = dict.fromkeys(DEPTHS.values(), _DEEPEST) | _needed_keys(network, config)
    for feature in (config.feature_depth, _DEEPEST):
        deep = replace(config, acc_width=min(width, _WIDEST), **depths | {"feature_depth": feature})  # type: ignore[arg-type]
        try:
            return compile_network(network, deep)
        except ValueError:
            continue
    return None


def _needed_keys(network: Network, config: ArrayConfig) -> dict[str, int]:
    """The keys of the fewest tables that do, and of narrow reads where needed; `table_bits` stays if it is enough."""
    tables, bits = table_needs(network)
    return {"tables": tables, "table_bits": max(bits, config.table_bits), "narrow_reads": reads_narrow(network)}


def _smallest(network: Network, config: ArrayConfig, image: Image) -> ArrayConfig | None:
    depths = {key: max(image.used_lines(kind), _SHALLOWEST) for kind, key in DEPTHS.items()}
    # Simulation sends every layer's output, the last one's is sent anyway: an instruction each.
    depths["program_depth"] += len(network.layers) - 1
    if config.pe == "subset":
        depths["point_sets"] = max(1, len(image.points) // config.fmt.point_count)
    depths |= _needed_keys(network, config)
    least = replace(config, name=f"{config.name}_fit", **depths)  # type: ignore[arg-type]
    # A narrower accumulator also limits the right shifts, a shallower memory the strides, and shallower banks give
    # other chunks to choose among: only mapping tells.
    widths = (max(image.acc_bits, config.sum_bits, 8), image.config.acc_width)
    for depth, width in product((max(positions(image), _SHALLOWEST), config.acc_depth), widths):
        narrow = replace(least, acc_width=width, acc_depth=depth)
        try:
            found = compile_network(network, narrow)
        except ValueError:
            continue
        if found.cycles <= image.cycles:
            return narrow
    return None


def positions(image: Image) -> int:
    """Positions of an accumulator bank that the program uses: those of its largest chunk."""
    program = [decode(image.config, line) for line in image.program]
    return max((window.height * window.width for window in program if isinstance(window, Window)), default=1)

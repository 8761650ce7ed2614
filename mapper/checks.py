"""What a build cannot do, said before anything is made."""

from twofold.golden.catalog import log_points
from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain, Section, Window, line_count
from twofold.golden.network import Layer, Network, Tensor
from twofold.golden.rounding import csd
from twofold.mapper.bounds import acc_width
from twofold.mapper.tiles import used_stride


class FitError(ValueError):
    """The network needs more than the build has.

    Parameters
    ----------
    message
        What is too small, for a reader.
    short
        Lines that the memories lack; 0 where it is something else.
    """

    def __init__(self, message: str, short: int = 0) -> None:
        super().__init__(message)
        self.short = short


def check_network(config: ArrayConfig, network: Network) -> None:
    """See that the build can express the network, memories aside.

    Raises
    ------
    FitError
        If a limit of the build is too small, naming the layer, the limit and the value.
    ValueError
        If the words are made for another weight format.
    """
    _check_points(config, network)
    _check_tables(config, network)
    _check_tensor(config, "Input", network.input)
    for layer in network.layers:
        where = f"Layer {layer.name!r}"
        _check_tensor(config, where, layer.output)
        _check_branches(config, network, layer, where)
        _check_requantisation(config, layer, where)
        bits = acc_width(config, network, layer)
        if bits > config.acc_width:
            raise FitError(f"{where}: acc_width must be at least {bits}, not {config.acc_width!r}")


def used_points(network: Network) -> list[str]:
    """Names of the point sets that some branch uses, in order of first use."""
    return list(dict.fromkeys(branch.point_set for layer in network.layers for branch in layer.branches))


def check_memory(config: ArrayConfig, network: Network, used: dict[Section, int]) -> None:
    """See that the lines used fit in the memories.

    Raises
    ------
    FitError
        Naming every memory that is too small and by how much.
    """
    short, total = [], 0
    for kind, lines in used.items():
        depth = line_count(config, kind)
        if lines > depth:
            short.append(f"{kind.name.lower()} memory must have {lines} lines, not {depth} ({lines - depth} short)")
            total += lines - depth
    if short:
        raise FitError(f"Network {network.name!r} does not fit build {config.name!r}: {'; '.join(short)}", total)


def _check_points(config: ArrayConfig, network: Network) -> None:
    names = used_points(network)
    for name in names:
        points = network.point_sets[name]
        if points.fmt != config.fmt:
            raise ValueError(f"Point set {name!r} must be of the build's format, {config.fmt!r}, not {points.fmt!r}")
        if config.pe == "log" and points != log_points(config.fmt):
            raise ValueError(
                f"Point set {name!r} must be {log_points(config.fmt).levels} on a log PE, not {points.levels!r}"
            )
    levels = {network.point_sets[name].levels for name in names}
    if len(levels) > config.sets:
        raise FitError(f"point_sets must be at least {len(levels)}, not {config.sets!r}")


def table_needs(network: Network) -> tuple[int, int]:
    """The least `tables` and `table_bits` of a build for a network; 0 and 0 where no layer has a table."""
    tables = [layer.table for layer in network.layers if layer.table is not None]
    bits = max((table.bits for table in tables), default=0)
    return len({table.words(bits, 8) for table in tables}), bits


def reads_narrow(network: Network) -> bool:
    """Whether some branch reads a part of an activation's bits."""
    return any(branch.narrow is not None for layer in network.layers for branch in layer.branches)


def _check_tables(config: ArrayConfig, network: Network) -> None:
    count, bits = table_needs(network)
    if count > config.tables:
        name = next(layer.name for layer in network.layers if layer.table is not None)
        raise FitError(f"Layer {name!r}: tables must be at least {count}, not {config.tables!r}")
    if bits > config.table_bits:
        name = next(layer.name for layer in network.layers if layer.table is not None and layer.table.bits == bits)
        raise FitError(f"Layer {name!r}: table_bits must be at least {bits}, not {config.table_bits!r}")


def _check_tensor(config: ArrayConfig, where: str, tensor: Tensor) -> None:
    if tensor.bits > config.act_bits:
        raise FitError(f"{where}: act_bits must be at least {tensor.bits}, not {config.act_bits!r}")
    if max(tensor.shape[1:]) > config.max_side:
        raise FitError(f"{where}: max_side must be at least {max(tensor.shape[1:])}, not {config.max_side!r}")


def _check_branches(config: ArrayConfig, network: Network, layer: Layer, where: str) -> None:
    step = Window.record(config)["step_x"].high
    for branch in layer.branches:
        size = network.tensors[branch.source].shape[1:]
        padded = max(side + begin + end for side, begin, end in zip(size, branch.begin, branch.end, strict=True))
        if padded > config.max_side:
            raise FitError(f"{where}: max_side must be at least {padded}, padding included, not {config.max_side!r}")
        if branch.narrow is not None and not config.narrow_reads:
            raise FitError(f"{where}: narrow_reads must be true to read {branch.narrow.bits} bits of more, not false")
        stride = max(used_stride(branch, layer.positions(branch)))
        if stride > step:
            raise FitError(f"{where}: stride must be at most {step}, not {stride!r}")
        if max(branch.shifts) > config.max_pass_shift:
            raise FitError(
                f"{where}: max_pass_shift must be at least {max(branch.shifts)}, not {config.max_pass_shift!r}"
            )


def _check_requantisation(config: ArrayConfig, layer: Layer, where: str) -> None:
    shift = Drain.record(config)["skip_shift"]
    if layer.skip is not None and not shift.low <= layer.skip.shift <= shift.high:
        raise FitError(f"{where}: shift of the skip must be {shift.low} to {shift.high}, not {layer.skip.shift!r}")
    if int(layer.right.max()) > config.scaled_bits:
        raise FitError(f"{where}: right shift must be at most {config.scaled_bits}, not {int(layer.right.max())!r}")
    for value in layer.multiplier.tolist():
        digits = csd(value)
        if len(digits) > config.digits:
            raise FitError(
                f"{where}: digits must be at least {len(digits)} for multiplier {value}, not {config.digits!r}"
            )
        if digits and digits[0][1] > config.digit_span:
            raise FitError(
                f"{where}: digit_span must be at least {digits[0][1]} for multiplier {value}, not {config.digit_span!r}"
            )

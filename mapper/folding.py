"""Ways to store a network's input: as it is, or with kernel positions of its first convolutions in the lanes.

An input of few channels leaves most lanes of its passes idle. Stored as windows (`golden.input_layout`) it has
``C * Kh * Kw`` channels for a 1x1 convolution, or, folded along one axis only, ``C * Kw`` or ``C * Kh`` for one of
fewer kernel positions. Stride, padding and dilation along a folded axis are the host's, which lays the input out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from twofold.golden.input_layout import InputLayout
from twofold.golden.network import INPUT, Branch, Layer, Network, Pair
from twofold.mapper.tiles import used_stride

#: Which of (vertical, horizontal) is folded.
AXES = ((False, True), (True, False), (True, True))


@dataclass(frozen=True, eq=False)
class Stored:
    """A network on one way to store its input.

    Parameters
    ----------
    network
        The network whose input is the stored tensor; it gives the same integers.
    layout
        How the input becomes that tensor; None where it is stored as it is.
    """

    network: Network
    layout: InputLayout | None = None

    @property
    def readers(self) -> int:
        """Number of the first layers of which the last one reads the input, and later ones do not."""
        return 1 + max(number for number, layer in enumerate(self.network.layers) if any(_inputs(layer)))


def stored_ways(network: Network, rows: int) -> list[Stored]:
    """Ways to store the input, as it is first: those that all of its readers can read and that fill more of the rows.

    Branches that are added read windows of one geometry; a maximum compares kernel positions pass by pass; a skip is
    read as it is.
    """
    readers = [(layer, branch) for layer in network.layers for branch in _inputs(layer)]
    found = [Stored(network)]
    if any(layer.maximum for layer, _ in readers) or any(_skips_input(layer) for layer in network.layers):
        return found
    channels, height, width = network.input.shape
    for axes in AXES:
        layouts = {_layout(branch, (height, width), layer.positions(branch), axes) for layer, branch in readers}
        if len(layouts) > 1:
            continue
        layout = layouts.pop()
        positions = layout.kernel[0] * layout.kernel[1]
        if -(-channels * positions // rows) < positions * -(-channels // rows):
            found.append(Stored(_folded(network, layout, axes), layout))
    return found


def _inputs(layer: Layer) -> Iterator[Branch]:
    return (branch for branch in layer.branches if branch.source == INPUT)


def _skips_input(layer: Layer) -> bool:
    return layer.skip is not None and layer.skip.source == INPUT


def _layout(branch: Branch, source: Pair, output: tuple[int, ...], axes: tuple[bool, bool]) -> InputLayout:
    """Windows that a branch reads along the folded axes; along others the input stays as it is."""
    stride = used_stride(branch, output)

    def pair(folded: Pair, kept: Pair) -> Pair:
        vertical, horizontal = (
            int(one if fold else other) for one, other, fold in zip(folded, kept, axes, strict=True)
        )
        return vertical, horizontal

    dilation_y, dilation_x = (
        step if taps > 1 else 1 for step, taps in zip(branch.dilation, branch.kernel, strict=True)
    )
    return InputLayout(
        kernel=pair(branch.kernel, (1, 1)),
        stride=pair(stride, (1, 1)),
        padding=pair(branch.begin, (0, 0)),
        dilation=pair((dilation_y, dilation_x), (1, 1)),
        size=pair((output[0], output[1]), source),
    )


def _folded(network: Network, layout: InputLayout, axes: tuple[bool, bool]) -> Network:
    layers = []
    for layer in network.layers:
        branches = [_fold(one, axes) if one.source == INPUT else one for one in layer.branches]
        layers.append(replace(layer, branches=tuple(branches)) if any(_inputs(layer)) else layer)
    tensor = replace(network.input, shape=layout.shape(network.input.shape))
    return replace(network, input=tensor, layers=tuple(layers))


def _fold(branch: Branch, axes: tuple[bool, bool]) -> Branch:
    """The branch over the stored tensor: kernel positions of the folded axes are channels, in `InputLayout`'s order."""
    words, outputs, _, *kernel = branch.codes.shape
    kept = [1 if fold else taps for fold, taps in zip(axes, kernel, strict=True)]
    order = sorted((0, 1), key=lambda axis: not axes[axis])
    codes = branch.codes.transpose(0, 1, 2, *(3 + axis for axis in order)).reshape(words, outputs, -1, *kept)

    def pair(values: Pair, folded: int) -> Pair:
        return folded if axes[0] else values[0], folded if axes[1] else values[1]

    folded = kernel[0] * kernel[1] // (kept[0] * kept[1])
    chosen = None
    if branch.channels is not None:
        chosen = tuple(channel * folded + position for channel in branch.channels for position in range(folded))
    return replace(
        branch,
        codes=codes,
        channels=chosen,
        stride=pair(branch.stride, 1),
        padding=(*pair(branch.begin, 0), *pair(branch.end, 0)),
        dilation=pair(branch.dilation, 1),
    )

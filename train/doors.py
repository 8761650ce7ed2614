"""Both ways into a model: its graph by `torch.fx`, and by `torch.export`, which looks into more."""

from torch import nn
from torch.export import ExportedProgram

from twofold.train.data import InputFormat
from twofold.train.graph import UnknownOperationError
from twofold.train.layers import QuantLayer
from twofold.train.lower import Lowering


def lowered(
    model: nn.Module | ExportedProgram, input: InputFormat, *, norms: bool
) -> tuple[Lowering, list[QuantLayer]]:
    """Layers of a model, and what made them: of its graph by `torch.fx`, or where that has an operation for which there
    is nothing, by `torch.export`, which looks into more.

    Raises
    ------
    ValueError
        If it cannot be lowered either way, with both reasons.
    """
    lowering = Lowering(model, input, norms=norms)
    try:
        return lowering, lowering.run()
    except UnknownOperationError as first:
        if lowering.reference.door != "torch.fx":
            raise
        try:
            lowering = Lowering(model, input, norms=norms, second=True)
            return lowering, lowering.run()
        except UnknownOperationError as error:
            raise ValueError(f"{first} (torch.fx) nor {error.name!r} (torch.export)") from error
        except ValueError as error:
            raise ValueError(f"{first} (torch.fx) nor fail by torch.export with: {error}") from error

"""Lowering of batch norms: into the convolutions whose results they take, or as a layer."""

import torch
from torch import Tensor, fx, nn

from twofold.train.draft import Draft, Value
from twofold.train.lower_constants import Constants
from twofold.train.norm import kept_norm
from twofold.train.picks import Pick

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class Norms(Constants):
    """The part of `train.lower.Lowering` that knows batch norms.

    Attributes
    ----------
    norms
        Convolutions keep their batch norms; otherwise these are folded.
    """

    norms: bool

    def _norm(self, node: fx.Node, norm: Norm) -> Value:
        source = self._input(node)
        if source.shape[0] != norm.num_features:
            raise ValueError(f"{self._where(node)} must take channels, not a flattened map of shape {source.shape!r}")
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError(f"{self._where(node)}: track_running_stats must be True, not False")
        parts, order = self._ordered(source)
        if all(self._takes_norm(parts, pick) for pick in parts.picks):
            start = 0
            for pick in parts.picks:
                assert pick.draft is not None
                self._fold(node, pick.draft, _part(norm, order[start : start + pick.count]))
                start += pick.count
            return self._alias(node)
        gain, bias = folded(norm, torch.ones(norm.num_features), torch.zeros(norm.num_features))
        return self._scaled(node, 0, source, gain, bias)

    def _takes_norm(self, value: Value, pick: Pick) -> bool:
        """Whether a batch norm may be folded into the layer of one of a value's picks."""
        draft = pick.draft
        return draft is not None and draft.weight is not None and not draft.skips and self._may_fuse(value, pick)

    def _fold(self, node: fx.Node, draft: Draft, norm: Norm) -> None:
        """Have a convolution's result go through the batch norm."""
        assert draft.weight is not None and draft.bias is not None
        if draft.norm is not None:
            raise ValueError(f"{self._where(node)} must be the only batch norm of its convolution where norms are kept")
        if self.norms:
            draft.weight, draft.norm = kept_norm(norm, draft.weight, draft.bias)
            return
        draft.weight, draft.bias = folded(norm, draft.weight, draft.bias)


def folded(norm: Norm, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (M, ...) and biases (M,) of a layer that does in evaluation what the batch norm does behind it, too."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = (norm.running_var + norm.eps).rsqrt()
    factor = factor if norm.weight is None else factor * norm.weight.detach()
    bias = (bias - norm.running_mean) * factor
    weight = weight * factor.view(-1, *[1] * (weight.dim() - 1))
    return weight, bias if norm.bias is None else bias + norm.bias.detach()


def _part(norm: Norm, channels: tuple[int, ...]) -> Norm:
    """The batch norm of some channels."""
    numbers, part = list(channels), nn.BatchNorm2d(len(channels), norm.eps, norm.momentum, affine=norm.affine)
    with torch.no_grad():
        for key, tensor in norm.state_dict().items():
            part.state_dict()[key].copy_(tensor[numbers] if tensor.dim() else tensor)
    return part

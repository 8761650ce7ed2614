"""Lowering of constants that are multiplied or added, a number for each channel: into the layers whose results they
meet, or as a layer."""

from typing import Any

import torch
from torch import Tensor, fx

from twofold.train.draft import Draft, Value
from twofold.train.graph import arguments, result_shape
from twofold.train.lower_channels import Channels
from twofold.train.norm import bound
from twofold.train.picks import Pick


class Constants(Channels):
    """The part of `train.lower.Lowering` that knows constants."""

    def _constant(self, argument: Any) -> Tensor | None:
        """A number or a tensor of the model's own; ``None`` where an argument is something else."""
        if isinstance(argument, (int, float)) and not isinstance(argument, bool):
            return torch.tensor(float(argument), dtype=torch.float64)
        constant = self.constants.get(argument) if isinstance(argument, fx.Node) else None
        return None if constant is None else constant.detach().double()

    def _moved_by(self, node: fx.Node, sign: int) -> Value | None:
        """Sum or difference of a tensor and a constant; ``None`` where there is no constant."""
        left, right = (self._constant(node.args[position]) for position in (0, 1))
        (alpha,) = arguments(node, other=None, alpha=1)[1:]
        if right is not None:
            return self._affine(node, 0, bias=sign * alpha * right)
        return None if left is None else self._affine(node, 1, gain=torch.tensor(float(sign * alpha)), bias=left)

    def _times(self, node: fx.Node, position: int, factor: float) -> Value:
        """An operand times a number, in the layer that gives it or as one."""
        value = self._affine(node, position, gain=torch.tensor(factor))
        for pick in value.picks:
            if pick.draft is not None:  # the model has it nowhere
                pick.draft.node = None
        return value

    def _call_rsub(self, node: fx.Node) -> Value:
        other, alpha = arguments(node, other=None, alpha=1)
        constant = self._constant(other)
        if constant is None:
            raise ValueError(f"{self._where(node)} must subtract from a constant, not {other!r}")
        return self._affine(node, 0, gain=torch.tensor(-float(alpha)), bias=constant)

    def _call_mul(self, node: fx.Node) -> Value:
        for position in (0, 1):
            factor = self._constant(node.args[1 - position])
            if factor is not None:
                return self._affine(node, position, gain=factor)
        raise ValueError(f"{self._where(node)} must multiply by a constant, not by another tensor ({node.args[1]!r})")

    def _call_div(self, node: fx.Node) -> Value:
        divisor = self._constant(node.args[1])
        if divisor is None or node.kwargs.get("rounding_mode") is not None:
            raise ValueError(
                f"{self._where(node)} must divide by a constant, without rounding, not by {node.args[1]!r}"
            )
        return self._affine(node, 0, gain=1 / divisor)

    def _call_neg(self, node: fx.Node) -> Value:
        return self._affine(node, 0, gain=torch.tensor(-1.0))

    def _affine(self, node: fx.Node, position: int, *, gain: Tensor | None = None, bias: Tensor | None = None) -> Value:
        """Operand `position` times a gain, plus a bias."""
        source = self._operand(node, position)
        source = source if source.still else self._kept(node, position)
        gain = self._each_channel(node, position, torch.ones(()) if gain is None else gain)
        bias = self._each_channel(node, position, torch.zeros(()) if bias is None else bias)
        return self._scaled(node, position, source, gain, bias)

    def _each_channel(self, node: fx.Node, position: int, constant: Tensor) -> Tensor:
        """A constant that broadcasts against an operand, for each of its channels."""
        argument: Any = node.args[position]
        shape, value = result_shape(argument), self.values[argument]
        try:
            maps = constant.broadcast_to(1, *shape[1:]).reshape(value.shape)
        except RuntimeError:
            maps = None
        wider = constant.dim() > 0 and result_shape(node) != shape
        if maps is None or wider or not torch.equal(maps, maps[:, :1, :1].expand_as(maps)):
            raise ValueError(
                f"{self._where(node)}: constant must be one number, or one for each channel, of {shape[1:]!r}, "
                f"not of shape {tuple(constant.shape)!r}"
            )
        return maps[:, 0, 0].float()

    def _scaled(self, node: fx.Node, position: int, source: Value, gain: Tensor, bias: Tensor) -> Value:
        """Channels times gains, plus biases, in the layers that give them where that is exact, else as a layer."""
        parts, order = self._ordered(source)
        gain, bias = gain[list(order)], bias[list(order)]
        counts = [len(pick.channels) for pick in parts.picks]
        pieces = list(zip(parts.picks, gain.split(counts), bias.split(counts), strict=True))
        if all(self._takes_gain(parts, pick, one) for pick, one, _ in pieces):
            for pick, one, other in pieces:
                assert pick.draft is not None
                _fuse(pick.draft, one, other)
            return self._alias(node, position)
        draft = Draft(
            self._name(node),
            "add",
            parts.shape,
            reads=tuple(pick.read for pick in parts.picks),
            gain=gain,
            bias=bias,
            nonnegative=self._nonnegative(parts) and bool((gain >= 0).all() and (bias >= 0).all()),
        )
        self.drafts.append(draft)
        return self._result(node, draft, flat=source.flat, order=order)

    def _takes_gain(self, value: Value, pick: Pick, gain: Tensor) -> bool:
        """Whether gains, and any biases, may be put into the layer of one of a value's picks."""
        draft = pick.draft
        if draft is None or draft.bias is None or not self._may_fuse(value, pick):
            return False
        if draft.weight is None or bool((gain == 1).all()):
            return True
        # A batch norm that is kept has positive factors (`train.norm.kept_norm`).
        return not draft.skips and (draft.norm is None or bool((gain > 0).all()))


@torch.no_grad()
def _fuse(draft: Draft, gain: Tensor, bias: Tensor) -> None:
    """Have a layer's result, before activation, be times a gain, plus a bias."""
    assert draft.bias is not None
    if draft.norm is not None:
        draft.norm.weight.mul_(gain)
        draft.norm.bias.copy_(draft.norm.bias * gain + bias)
        bound(draft.norm)
        return
    draft.bias = draft.bias * gain + bias
    if draft.gain is not None:
        draft.gain = draft.gain * gain
        draft.nonnegative = draft.nonnegative and bool((gain >= 0).all() and (bias >= 0).all())
    else:
        assert draft.weight is not None
        draft.weight = draft.weight * gain.view(-1, *[1] * (draft.weight.dim() - 1))

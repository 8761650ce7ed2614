"""Lowering of sums and differences of tensors: into the convolutions whose results they take, or as a layer."""

from dataclasses import replace

from torch import fx

from twofold.golden.network import Pair
from twofold.train.draft import Value
from twofold.train.graph import arguments, chw, result_shape
from twofold.train.lower_resize import Resizes
from twofold.train.picks import chosen


class Sums(Resizes):
    """The part of `train.lower.Lowering` that knows sums."""

    def _call_sub(self, node: fx.Node) -> Value:
        return self._add(node, -1)

    def _add(self, node: fx.Node, sign: int = 1) -> Value:
        moved = self._moved_by(node, sign)
        if moved is not None:
            return moved
        (alpha,) = arguments(node, other=None, alpha=1)[1:]
        left = self._filled(node, 0)
        right = self._filled(node, 1) if sign * alpha == 1 else self._times(node, 1, float(sign * alpha))
        size = chw(node)[1:]
        left, right = (self._spread(node, one) if self._narrow(one, size) else one for one in (left, right))
        left, right = (self._repeated(one, result_shape(node)[1]) for one in (left, right))
        if left.shape != right.shape or left.split or left.flat != right.flat:
            raise ValueError(
                f"{self._where(node)}: operands must have the same shape, "
                f"not {result_shape(node.args[0])} and {result_shape(node.args[1])}"
            )
        order = sorted(
            ((a, b) for a, b in ((left, right), (right, left)) if self._adds(a, b)),
            key=lambda pair: self.drafts.index(pair[0].draft),  # type: ignore[arg-type]
        )
        if not order:
            first, second, numbers = self._aligned(left, right)
            draft = self._sum(node, first, second)
            return self._result(node, draft, flat=left.flat, order=numbers)
        fused, other = order[-1]
        assert fused.draft is not None
        fused.draft.skips += other.skips
        fused.draft.nonnegative = fused.draft.nonnegative and self._nonnegative(other)
        # Its result is first needed here, so it may wait for the other operand.
        self.drafts.remove(fused.draft)
        self.drafts.append(fused.draft)
        return self._result(node, fused.draft, flat=fused.flat)

    @staticmethod
    def _narrow(value: Value, size: Pair) -> bool:
        """Whether a value has one row or one column where the result has more."""
        pairs = list(zip(value.shape[1:], size, strict=True))
        return not value.flat and value.still and value.shape[1:] != size and all(n in (1, m) for n, m in pairs)

    @staticmethod
    def _repeated(value: Value, count: int) -> Value:
        """The value; so many times the channel, where it has one and the result more."""
        if count == 1 or value.shape[0] != 1 or value.channels != 1 or value.split:
            return value
        return replace(value, picks=chosen(value.picks, [0] * count), shape=(count, *value.shape[1:]))

    def _adds(self, one: Value, other: Value) -> bool:
        """Whether the layer that gives the one value may add the other, of which it gives no channel."""
        draft = one.draft
        if draft is None or draft.gain is not None or not self._open(one):
            return False
        return all(pick.draft is not draft for pick in other.picks)

    def _aligned(self, one: Value, other: Value) -> tuple[Value, Value, tuple[int, ...] | None]:
        """Two values to be added, channels of a tensor together in the one, and the numbers that they had."""
        if one.plain or one.shape[0] != one.channels or other.shape[0] != other.channels:
            return one, other, None
        parts, order = self._ordered(one)
        return parts, replace(other, picks=chosen(other.picks, order)), order

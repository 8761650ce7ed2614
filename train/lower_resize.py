"""Lowering of upsampling and pixel shuffle."""

from typing import Any

from torch import fx

from twofold.golden.parts import MOST_STEP
from twofold.train.draft import Draft, Value
from twofold.train.graph import arguments, chw
from twofold.train.lower_norm import Norms
from twofold.train.skip import Read


class Resizes(Norms):
    """The part of `train.lower.Lowering` that knows other positions."""

    def _upsampled(self, node: fx.Node, mode: Any) -> Value:
        if mode not in ("nearest", "nearest-exact"):
            raise ValueError(f"{self._where(node)}: mode must be 'nearest', not {mode!r}")
        source, size = self._input(node), chw(node)[1:]
        factor = (size[0] // source.shape[1], size[1] // source.shape[2])
        if size != (factor[0] * source.shape[1], factor[1] * source.shape[2]) or max(factor) > MOST_STEP:
            raise ValueError(
                f"{self._where(node)}: size must be 1 to {MOST_STEP} times {source.shape[1:]!r}, not {size!r}"
            )
        return self._pooled(node, "resize", source, {"factor": factor})

    def _pixels(self, node: fx.Node, factor: int) -> Value:
        source = self._input(node)
        if factor > MOST_STEP:
            raise ValueError(f"{self._where(node)}: factor must be at most {MOST_STEP}, not {factor!r}")
        read = source.picks[0].read if len(source.picks) == 1 else Read(self._sum(node, source).name)
        draft = Draft(
            self._name(node),
            "resize",
            chw(node),
            reads=(read,),
            nonnegative=self._nonnegative(source),
            geometry={"factor": (factor, factor), "shuffled": True},
        )
        self.drafts.append(draft)
        return self._result(node, draft)

    def _call_interpolate(self, node: fx.Node) -> Value:
        _, _, mode = arguments(node, size=None, scale_factor=None, mode="nearest")
        return self._upsampled(node, mode)

    def _call_nearest(self, node: fx.Node) -> Value:
        return self._upsampled(node, "nearest")

    def _call_pixel_shuffle(self, node: fx.Node) -> Value:
        (factor,) = arguments(node, upscale_factor=1)
        return self._pixels(node, factor)

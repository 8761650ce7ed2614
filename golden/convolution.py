"""Sums and maxima of a branch's windows, in whatever number type the caller has proven exact.

Activations lie channels last, (B, H, W, C), so that a row of an unfolded window is copied in long runs.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike, NDArray

from twofold.golden.network import Branch

#: Values in a kernel's number type, which is chosen as the program runs.
Numbers = NDArray[Any]
#: Bytes of unfolded windows made at once: they should still lie in the cache when the product reads them.
UNFOLD_BYTES = 1 << 22


class BranchKernel:
    """A branch with its integer weights laid out for one number type.

    Parameters
    ----------
    branch
        Geometry: stride, padding, dilation, groups.
    weights : shape (M, N / groups, Kh, Kw)
        Integer weights.
    dtype
        float32, float64 or int64: every partial sum must be exact in it.
    """

    def __init__(self, branch: Branch, weights: NDArray[np.int64], *, dtype: DTypeLike) -> None:
        self.branch = branch
        self.dtype = np.dtype(dtype)
        outputs, inputs, height, width = weights.shape
        self.depthwise = inputs == 1 and (branch.groups > 1 or outputs == 1)
        self.uniform = self.depthwise and bool((weights == weights[:, :, :1, :1]).all())
        if self.depthwise:
            taps = weights[:, 0].transpose(1, 2, 0)  # Kh, Kw, M
        else:
            grouped = weights.reshape(branch.groups, outputs // branch.groups, inputs, height, width)
            taps = grouped.transpose(0, 3, 4, 2, 1).reshape(branch.groups, -1, outputs // branch.groups)
        self.taps = np.ascontiguousarray(taps, dtype=self.dtype)

    def sum(self, x: Numbers) -> Numbers:
        """Sums over the windows: (B, H, W, N) to (B, Ho, Wo, M)."""
        size = self.branch.output_size(x.shape[1], x.shape[2])
        x = self._pad(self._read(x), 0)
        if self.uniform:
            sums: Numbers = self._spread(self._fold(np.add, x, size)) * self.taps[0, 0]
            return sums
        if self.depthwise:
            result = np.zeros((len(x), *size, self.branch.out_channels), dtype=self.dtype)
            spread = self._spread(x)
            for row, col in product(*map(range, self.branch.kernel)):
                result += self._tap(spread, size, row, col) * self.taps[row, col]
            return result
        return self._dense(x, size)

    def maximum(self, x: Numbers) -> Numbers:
        """Maxima of weight times activation over the windows; positions outside the map are left out."""
        size = self.branch.output_size(x.shape[1], x.shape[2])
        lowest = np.iinfo(self.dtype).min if self.dtype.kind == "i" else -np.inf
        products = self._read(x).astype(self.dtype) * self.taps[0, 0]
        return self._fold(np.maximum, self._pad(products, lowest), size)

    def _read(self, x: Numbers) -> Numbers:
        """The channels, and of their activations the bits, that the branch reads."""
        channels, narrow = self.branch.channels, self.branch.narrow
        x = x if channels is None else x[..., list(channels)]
        return x if narrow is None else narrow.of(x)

    def _pad(self, x: Numbers, value: float) -> Numbers:
        if not any(self.branch.padding):
            return x.astype(self.dtype, copy=False)
        (top, left), (bottom, right) = self.branch.begin, self.branch.end
        _, height, width, _ = x.shape
        x = x[:, max(0, -top) : height + min(0, bottom), max(0, -left) : width + min(0, right)]
        top, left, bottom, right = (max(0, side) for side in (top, left, bottom, right))
        batch, height, width, channels = x.shape
        padded = np.full((batch, top + height + bottom, left + width + right, channels), value, dtype=self.dtype)
        padded[:, top : top + height, left : left + width] = x
        return padded

    def _spread(self, x: Numbers) -> Numbers:
        """Each channel as often as it has output channels."""
        times = self.branch.out_channels // self.branch.in_channels
        return x if times == 1 else np.repeat(x, times, axis=3)

    def _tap(self, x: Numbers, size: tuple[int, int], row: int, col: int) -> Numbers:
        (step_y, step_x), (dil_y, dil_x) = self.branch.stride, self.branch.dilation
        top, left = row * dil_y, col * dil_x
        return x[:, top : top + (size[0] - 1) * step_y + 1 : step_y, left : left + (size[1] - 1) * step_x + 1 : step_x]

    def _fold(self, operation: np.ufunc, x: Numbers, size: tuple[int, int]) -> Numbers:
        """Sum or maximum over each window, first along rows, then along columns."""
        step_x, dil_x = self.branch.stride[1], self.branch.dilation[1]
        end = (size[1] - 1) * step_x + 1
        across = x[:, :, :end:step_x].copy()
        for col in range(1, self.branch.kernel[1]):
            operation(across, x[:, :, col * dil_x : col * dil_x + end : step_x], out=across)
        step_y, dil_y = self.branch.stride[0], self.branch.dilation[0]
        end = (size[0] - 1) * step_y + 1
        result = across[:, :end:step_y].copy()
        for row in range(1, self.branch.kernel[0]):
            operation(result, across[:, row * dil_y : row * dil_y + end : step_y], out=result)
        return result

    def _dense(self, x: Numbers, size: tuple[int, int]) -> Numbers:
        """Unfolds windows and multiplies matrices, a group at a time, some images at a time."""
        groups, depth, outputs = self.taps.shape
        inputs = x.shape[3] // groups
        result = np.empty((len(x), *size, groups * outputs), dtype=self.dtype)
        images = max(1, UNFOLD_BYTES // (size[0] * size[1] * depth * self.dtype.itemsize))
        for start in range(0, len(x), images):
            part = x[start : start + images]
            for group in range(groups):
                windows = self._windows(part[..., group * inputs : (group + 1) * inputs], size)
                sums = windows.reshape(-1, depth) @ self.taps[group]
                target = result[start : start + images, ..., group * outputs : (group + 1) * outputs]
                target[...] = sums.reshape(target.shape)
        return result

    def _windows(self, x: Numbers, size: tuple[int, int]) -> Numbers:
        """View of shape (B, Ho, Wo, Kh, Kw, N)."""
        (step_y, step_x), (dil_y, dil_x) = self.branch.stride, self.branch.dilation
        image, row, col, channel = x.strides
        strides = (image, row * step_y, col * step_x, row * dil_y, col * dil_x, channel)
        return as_strided(x, (len(x), *size, *self.branch.kernel, x.shape[3]), strides, writeable=False)

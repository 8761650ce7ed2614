"""Whether images are what a network takes, before anything is computed from them."""

from torch import Tensor

from twofold.train.data.base import Images, InputFormat, extremes

#: Lazily read images that are looked at, at most.
FIRST = 64
#: A few values beyond the range are clipped in normal use; images in another unit are beyond it by far more than this.
EXCESS = 4.0


def check_images(images: Tensor | Images, form: InputFormat | None = None) -> None:
    """Look at all images of a tensor, or at the first of those that are read lazily.

    Parameters
    ----------
    images
        What a network is to be fed with.
    form
        What it takes; ``None``: not known.

    Raises
    ------
    TypeError
        If it is neither a tensor of real numbers nor `Images`.
    ValueError
        If there is no image, or the shape, a value or the range is wrong.
    """
    if not isinstance(images, (Tensor, Images)):
        raise TypeError(f"Images must be a tensor, not {type(images).__name__}")
    if len(images.shape) < 2:
        raise ValueError(f"Images must be of shape (images, ...), not {tuple(images.shape)}")
    if not len(images):
        raise ValueError("Images must be at least one, not 0")
    if form is not None:
        check_shape(tuple(images.shape[1:]), form.shape, "Images")
    check_values(images[:FIRST] if isinstance(images, Images) else images, form)


def check_shape(found: tuple[int, ...], wanted: tuple[int, ...], what: str) -> None:
    """Shape of one image; features may be those of a 1x1 map, a series that of a map of height 1.

    Raises
    ------
    ValueError
        If it is another one.
    """
    if _squeezed(found) == _squeezed(wanted):
        return
    last = len(found) == len(wanted) == 3 and found == (*wanted[1:], wanted[0])
    hint = "; channels come first: images.permute(0, 3, 1, 2)" if last else ""
    raise ValueError(f"{what} must be of shape {wanted}, not {found}{hint}")


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 3 and shape[1] == 1:
        shape = shape[0], shape[2]
    return shape[:1] if shape[1:] == (1,) else shape


def check_values(images: Tensor, form: InputFormat | None) -> None:
    """Finite values, and about the range of the format.

    Raises
    ------
    TypeError
        If they are not real numbers.
    ValueError
        If they are something else.
    """
    low, high = extremes(images)
    if form is None:
        return
    step = form.scale if form.scale is not None else max(abs(low), abs(high)) / form.high
    if not form.signed and low < -step / 2:
        raise ValueError(f"Images must be at least 0 for an unsigned input format, not {low:.4g}")
    if form.scale is not None and max(-low, high) > EXCESS * form.high * step:
        limits = f"{form.low * step:.4g} to {form.high * step:.4g}"
        raise ValueError(f"Images must be about {limits}, the range of the input format, not {low:.4g} to {high:.4g}")

"""Image files, read as what they are or refused in one line."""

from pathlib import Path

from PIL import Image

from twofold.support.reading import check_file

#: Pixels of an image file, at most.
LARGEST_IMAGE = 1 << 26


def read_image(file: Path, mode: str | None = "RGB") -> Image.Image:
    """The image in a file, converted to a mode of Pillow's; ``None``: in its own.

    Raises
    ------
    ValueError
        If the file is no image, damaged or too large; the message begins with its path.
    """
    try:
        check_file(file)
        with Image.open(file) as opened:
            if opened.width * opened.height > LARGEST_IMAGE:
                raise ValueError(f"it has {opened.width}x{opened.height} pixels, more than {LARGEST_IMAGE}")
            return opened.copy() if mode is None else opened.convert(mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file}: file must be an image, not damaged: {error}") from error

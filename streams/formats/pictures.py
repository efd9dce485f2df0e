"""Pictures of any format that Pillow reads, brought to one size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ...errors import DataError


def read_picture(
    content: bytes | Path, size: tuple[int, int], grey: bool, crop: bool = False, where: str | None = None
) -> NDArray[np.uint8]:
    """Decode a picture and resize it.

    Args:
        content: The file's bytes, or its path.
        size: Height and width in pixels.
        grey: Whether colours become grey levels.
        crop: Whether a centred part of the right proportions is taken first; without it, the picture is stretched.
        where: What an error names as the place; left out: the path.

    Returns:
        Shape `(channels, height, width)`: one channel if grey, else red, green and blue. Pixels that are transparent
        show black.

    Raises:
        DataError: If it is no picture, or damaged.
    """
    height, width = size
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as opened:
            picture: Image.Image = ImageOps.exif_transpose(opened)
            if picture.mode in ("I;16", "I;16B", "I"):  # 16 bits of grey: Pillow's own conversion would cut them off
                picture = Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
            if "A" in picture.mode or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
            picture = picture.convert("L" if grey else "RGB")
            if crop:
                picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
            elif picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{where or content!s}: is no picture, or damaged: {error}.") from error
    return np.ascontiguousarray(pixels[None] if grey else pixels.transpose(2, 0, 1))


def check_picture(path: Path) -> None:
    """Look at the beginning of a file, and no further, to see whether it is a picture.

    Args:
        path: The file.

    Raises:
        DataError: If it is none.
    """
    try:
        with Image.open(path):
            pass
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: is no picture, or damaged: {error}.") from error

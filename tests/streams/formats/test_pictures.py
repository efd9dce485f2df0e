import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evermap.errors import DataError
from evermap.streams.formats.pictures import read_picture


def stored(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def test_colours_stand_in_front_and_are_kept() -> None:
    picture = Image.new("RGB", (2, 1))
    picture.putdata([(255, 0, 10), (1, 2, 3)])
    assert read_picture(stored(picture), (1, 2), grey=False).tolist() == [[[255, 1]], [[0, 2]], [[10, 3]]]
    grey = read_picture(stored(picture), (1, 2), grey=True)
    assert grey.shape == (1, 1, 2)
    assert grey[0, 0, 0] == round(255 * 0.299 + 10 * 0.114)  # the luminance of ITU-R 601


def test_a_path_is_read_like_its_bytes(tmp_path: Path) -> None:
    picture = Image.new("L", (4, 4), 77)
    picture.save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png", (4, 4), grey=True) == 77).all()


def test_resizing_averages_and_cropping_keeps_proportions() -> None:
    halves = np.zeros((4, 8), np.uint8)
    halves[:, 4:] = 200
    content = stored(Image.fromarray(halves))
    assert read_picture(content, (1, 1), grey=True).tolist() == [[[100]]]
    # Stretched, the picture's left quarter is the result's; cropped, it lies outside.
    left = np.zeros((4, 8), np.uint8)
    left[:, :2] = 255
    assert read_picture(stored(Image.fromarray(left)), (4, 4), grey=True)[0, 0, 0] > 200
    assert read_picture(stored(Image.fromarray(left)), (4, 4), grey=True, crop=True).max() == 0


def test_what_a_camera_says_of_its_position_is_followed() -> None:
    picture = Image.fromarray(np.array([[0, 255]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    assert read_picture(stored(picture, exif=exif.tobytes()), (2, 1), grey=True).tolist() == [[[0], [255]]]


def test_transparent_pixels_are_black_and_sixteen_bits_are_eight() -> None:
    clear = Image.new("RGBA", (1, 1), (255, 255, 255, 0))
    assert read_picture(stored(clear), (1, 1), grey=False).tolist() == [[[0]], [[0]], [[0]]]
    deep = Image.fromarray(np.array([[0, 0x80FF, 0xFFFF]], np.uint16))
    assert read_picture(stored(deep), (1, 3), grey=True).tolist() == [[[0, 0x80, 0xFF]]]


def test_palettes_and_single_bits() -> None:
    bits = Image.fromarray(np.array([[True, False]]))
    assert read_picture(stored(bits), (1, 2), grey=True).tolist() == [[[255, 0]]]
    assert read_picture(stored(bits.convert("P"), "GIF"), (1, 2), grey=True).tolist() == [[[255, 0]]]


@pytest.mark.parametrize("content", [b"", b"no picture", stored(Image.new("L", (40, 40), 3))[:-30]])
def test_what_is_no_picture_is_named(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"zip: a\.png: is no picture, or damaged"):
        read_picture(content, (4, 4), grey=True, where="zip: a.png")
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(DataError, match=r"b\.png: is no picture, or damaged"):
        read_picture(tmp_path / "b.png", (4, 4), grey=True)

import gzip
import struct
from pathlib import Path

import pytest

from evermap.errors import DataError
from evermap.streams.formats.idx import read_idx, read_shape

# Two images of 2×3 pixels, written by hand from the publisher's description of the format.
IMAGES = bytes.fromhex("00000803 00000002 00000002 00000003") + bytes(range(12))
LABELS = bytes.fromhex("00000801 00000002") + bytes([7, 2])


@pytest.mark.parametrize("packed", [False, True])
def test_shape_and_values(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(IMAGES) if packed else IMAGES)
    assert read_shape(path, 3) == (2, 2, 3)
    assert read_idx(path, 3) == ((2, 2, 3), bytes(range(12)))


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(LABELS)
    assert read_idx(tmp_path / "labels", 1) == ((2,), bytes([7, 2]))


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (LABELS, "a", r"a: is no idx file of unsigned bytes in 3 dimensions: it begins with 00 00 08 01"),
        (b"", "a", "it begins with , not with 00 00 08 03"),
        (struct.pack(">4B3I", 0, 0, 13, 3, 1, 1, 1), "a", "it begins with 00 00 0d 03"),
        (IMAGES[:-1], "a", r"holds 11 values; its header says 12 \(\(2, 2, 3\)\)"),
        (IMAGES + b"\0", "a", "holds 13 values; its header says 12"),
        (gzip.compress(IMAGES, mtime=0)[:-9], "a.gz", r"a\.gz: cannot be read: "),
        (IMAGES, "a.gz", r"a\.gz: cannot be read: "),
    ],
)
def test_what_is_no_such_file_is_named(tmp_path: Path, content: bytes, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_idx(tmp_path / name, 3)

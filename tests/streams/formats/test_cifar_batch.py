import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evermap.errors import DataError
from evermap.streams.formats.cifar_batch import read_batch

HERE = Path("data_batch_1")
# {'labels': [1, 0], 'data': two rows of three bytes}, in the opcodes that the publisher's Python 2 wrote.
PYTHON_2 = (
    b"\x80\x02}(U\x06labels](K\x01K\x00eU\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01b"
    b"tR(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89U\x06\x00\x01\x02\xfd\xfe\xfftbu."
)


def test_a_batch_as_python_2_wrote_it() -> None:
    batch = read_batch(PYTHON_2, HERE)
    assert batch["labels"] == [1, 0]
    assert batch["data"].dtype == np.uint8
    assert batch["data"].tolist() == [[0, 1, 2], [253, 254, 255]]


def test_a_batch_that_python_3_wrote_again() -> None:
    images = np.arange(6, dtype=np.uint8).reshape(2, 3)
    again = pickle.dumps({"data": images, "fine_labels": [5, 6], b"raw": b"\xff"}, protocol=2)
    batch = read_batch(again, HERE)
    assert batch["data"].tolist() == images.tolist()
    assert batch["fine_labels"] == [5, 6]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("the file ran code",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"data": Evil()}), r"data_batch_1: asks for builtins\.print; a batch of CIFAR holds texts, numb"),
        (pickle.dumps({"data": np.array([Evil()], dtype=object)}), r"data_batch_1: (asks for|holds an array of)"),
        (b"cnumpy.core.multiarray\nscalar\n.", r"asks for numpy\.core\.multiarray\.scalar"),
        (b"cnumpy\nload\n.", r"asks for numpy\.load"),
        (b"c_codecs\nencode\n(U\x01aU\x04zliBtR.", "asks for bytes|holds bytes in the encoding"),
        (pickle.dumps([1]), "holds list; a batch of CIFAR is a dictionary"),
        (PYTHON_2[:-30], "data_batch_1: is no batch of CIFAR, or damaged: "),
        (b"<html>", "data_batch_1: is no batch of CIFAR, or damaged: "),
    ],
)
def test_anything_else_is_refused_and_never_run(content: bytes, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=said):
        read_batch(content, HERE)
    assert capsys.readouterr().out == ""

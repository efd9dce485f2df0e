import errno
import itertools
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evermap.agent.blobs import Blobs, DiskBlobs, MemoryBlobs, digest, pack, unpack
from evermap.errors import StoreError

DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """A tensor of any stored dtype and shape (0-d and empty ones too), contiguous or with its axes permuted."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    element = {
        torch.float32: st.floats(width=32, allow_nan=False, allow_infinity=False),
        torch.float64: st.floats(allow_nan=False, allow_infinity=False),
        torch.int64: st.integers(-(2**63), 2**63 - 1),
        torch.bool: st.booleans(),
    }[dtype]
    count = torch.Size(shape).numel()
    flat = torch.tensor(draw(st.lists(element, min_size=count, max_size=count)), dtype=dtype)
    return flat.reshape(shape).permute(draw(st.permutations(range(len(shape)))))


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.contiguous().numpy().tobytes()


@given(st.dictionaries(NAMES, tensors(), max_size=5))
@settings(max_examples=150, deadline=None)
def test_what_is_packed_comes_back_bit_for_bit(content: dict[str, Tensor]) -> None:
    back = unpack(*pack(content))
    assert {name: bits(tensor) for name, tensor in back.items()} == {name: bits(each) for name, each in content.items()}
    for name, tensor in content.items():
        if tensor.numel():
            assert back[name].stride() == tensor.stride()
    assert list(back) == sorted(content)


@given(st.dictionaries(NAMES, tensors(), min_size=1, max_size=5), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_same_content_is_the_same_blob_in_any_order(content: dict[str, Tensor], random: object) -> None:
    names = list(content)
    random.shuffle(names)  # type: ignore[attr-defined]
    again = {name: content[name].clone() for name in names}
    assert pack(again) == pack(content)


def test_channels_last_lies_contiguous_in_the_file_and_comes_back_as_it_was() -> None:
    kernel = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    last = kernel.to(memory_format=torch.channels_last)
    data, layout = pack({"kernel": last})
    assert data == pack({"kernel": kernel})[0]
    back = unpack(data, layout)["kernel"]
    assert back.is_contiguous(memory_format=torch.channels_last)
    assert not back.is_contiguous()
    assert torch.equal(back, kernel)


def test_a_one_by_one_kernel_in_channels_last_keeps_its_strides() -> None:
    kernel = torch.ones(4, 3, 1, 1).to(memory_format=torch.channels_last)
    assert unpack(*pack({"kernel": kernel}))["kernel"].stride() == kernel.stride()


def test_views_and_shared_memory_are_stored_by_value() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    content = {"whole": whole, "same": whole, "part": whole[1:, :2], "spread": whole[0, :1].expand(3)}
    back = unpack(*pack(content))
    assert all(torch.equal(back[name], tensor) for name, tensor in content.items())
    assert len({tensor.data_ptr() for tensor in back.values()}) == 4


def test_a_parameter_is_stored_without_its_gradient() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    assert not unpack(*pack({"p": parameter}))["p"].requires_grad


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_what_is_not_finite_is_refused(bad: float, dtype: torch.dtype) -> None:
    with pytest.raises(StoreError, match="'w' holds NaN or infinity"):
        pack({"v": torch.ones(1), "w": torch.tensor([1.0, bad], dtype=dtype)})


@pytest.mark.parametrize("bad", [torch.ones(2, dtype=torch.complex64), torch.eye(2).to_sparse()])
def test_a_kind_of_tensor_that_has_no_place_in_a_blob_is_refused(bad: Tensor) -> None:
    with pytest.raises(StoreError, match=r"'w' .* cannot be stored"):
        pack({"w": bad})


@pytest.fixture(params=["disk", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return DiskBlobs(tmp_path) if request.param == "disk" else MemoryBlobs()


def test_blobs_keep_read_list_and_drop(blobs: Blobs) -> None:
    assert blobs.put(b"one") == (digest(b"one"), True)
    assert blobs.put(b"one") == (digest(b"one"), False)
    two, _ = blobs.put(b"twos")
    blobs.sync()
    assert list(blobs.names()) == sorted([digest(b"one"), two])
    assert blobs.read(two) == b"twos"
    assert [blobs.drop(two), blobs.drop(two)] == [4, 0]
    with pytest.raises(StoreError, match=f"Blob {two} is missing"):
        blobs.read(two)
    assert blobs.sweep() == 0


def test_the_name_is_the_sha256_of_the_file(tmp_path: Path) -> None:
    # Golden: sha256 of "abc" (FIPS 180-2, appendix B.1).
    name, _ = DiskBlobs(tmp_path).put(b"abc")
    assert name == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (tmp_path / f"{name}.safetensors").read_bytes() == b"abc"


def test_a_flipped_byte_is_found_and_mended_by_putting_the_blob_again(tmp_path: Path) -> None:
    blobs = DiskBlobs(tmp_path)
    name, _ = blobs.put(b"abcdef")
    file = tmp_path / f"{name}.safetensors"
    file.write_bytes(b"abcdeg")
    with pytest.raises(StoreError, match=f"Blob {name} .* damaged"):
        blobs.read(name)
    assert blobs.put(b"abcdef") == (name, False)
    assert blobs.read(name) == b"abcdef"


def test_a_file_takes_its_name_only_when_it_is_whole_and_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for call in ("write", "fsync", "replace"):
        real = getattr(os, call)
        monkeypatch.setattr(os, call, lambda *args, _real=real, _call=call: (done.append(_call), _real(*args))[1])
    blobs = DiskBlobs(tmp_path)
    blobs.put(b"abc")
    blobs.sync()
    assert done == ["write", "fsync", "replace", "fsync"]


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    """Short writes of two bytes, then no space."""
    count, real = itertools.count(), os.write

    def write(file: int, data: memoryview) -> int:
        if next(count) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[:2])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        DiskBlobs(tmp_path).put(b"abcdef")
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:2]))
    blobs = DiskBlobs(tmp_path)
    assert blobs.read(blobs.put(b"abcdefg")[0]) == b"abcdefg"


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    blobs = DiskBlobs(tmp_path)
    name, _ = blobs.put(b"abc")
    (tmp_path / "half.tmp").write_bytes(b"12345")
    assert list(blobs.names()) == [name]
    assert blobs.sweep() == 5
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.safetensors"]

"""Weights as content-addressed files: a blob is named by the hash of its bytes, written once and verified when read."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import safetensors.torch
import torch
from torch import Tensor

from ..errors import StoreError

# What safetensors can hold and NaN can be looked for in.
_DTYPES = frozenset(
    {torch.float16, torch.bfloat16, torch.float32, torch.float64}
    | {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool}
)

Layout = dict[str, list[int]]


def pack(tensors: Mapping[str, Tensor]) -> tuple[bytes, Layout]:
    """Turn named tensors into bytes that depend on their content alone.

    Args:
        tensors: Name to tensor, of any shape; the order does not matter.

    Returns:
        A safetensors file without metadata, every tensor contiguous, and the strides of those tensors that lay in
        memory otherwise (channels last), so that `unpack` can restore them.

    Raises:
        StoreError: If a tensor holds NaN or infinity, or is of a kind that cannot be stored.
    """
    plain: dict[str, Tensor] = {}
    layout: Layout = {}
    seen: set[int] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        if name == "__metadata__" or tensor.layout != torch.strided or tensor.dtype not in _DTYPES:
            raise StoreError(f"Tensor {name!r} ({tensor.dtype}, {tensor.layout}) cannot be stored.")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise StoreError(f"Tensor {name!r} holds NaN or infinity, which never reaches the store.")
        if _dense(tensor) and list(tensor.stride()) != _usual_strides(tensor.shape):
            layout[name] = list(tensor.stride())
        # Cloned where it is part of a bigger tensor or shares its memory with another, which safetensors refuses.
        contiguous = tensor.cpu().contiguous()
        storage = contiguous.untyped_storage()
        if storage.nbytes() != contiguous.nbytes or storage.data_ptr() in seen:
            contiguous = contiguous.clone()
        seen.add(contiguous.untyped_storage().data_ptr())
        plain[name] = contiguous
    return safetensors.torch.save(plain), layout


def unpack(data: bytes, layout: Layout) -> dict[str, Tensor]:
    """Turn the bytes of `pack` into tensors again.

    Args:
        data: A safetensors file.
        layout: The strides that `pack` noted.

    Returns:
        Name to tensor on the CPU, sorted by name, bit for bit and stride for stride what was packed.
    """
    found = safetensors.torch.load(data)
    for name, strides in layout.items():
        laid_out = torch.empty_strided(found[name].shape, strides, dtype=found[name].dtype)
        found[name] = laid_out.copy_(found[name])
    return {name: found[name] for name in sorted(found)}


def _usual_strides(shape: torch.Size) -> list[int]:
    """Strides of a freshly made tensor; `is_contiguous` would also be true of a 1×1 kernel in channels last."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return strides[::-1]


def _dense(tensor: Tensor) -> bool:
    """Whether the elements fill their memory without gaps and overlaps, so that strides can be restored."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return math.prod(tensor.shape) > 0


def digest(data: bytes) -> str:
    """Name a blob: the SHA-256 of its bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Blobs(Protocol):
    """Where blobs lie. Writing happens under the catalog's write lock, so there is one writer at a time."""

    def put(self, data: bytes) -> tuple[str, bool]:
        """Keep bytes; return their name, and whether they were not there before."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a blob, verified; raise StoreError naming it where it is missing or damaged."""

    def drop(self, name: str) -> int:
        """Remove a blob, if it is there, and return how many bytes that frees."""

    def names(self) -> Iterator[str]:
        """List every blob, used or not."""

    def sync(self) -> None:
        """Return when every blob put so far would survive a power cut."""

    def sweep(self) -> int:
        """Remove what interrupted writing has left, and return how many bytes that frees."""


class MemoryBlobs:
    """Blobs of a store that ends with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> tuple[str, bool]:
        """Keep bytes; return their name, and whether they were not there before."""
        name = digest(data)
        fresh = name not in self._kept
        self._kept[name] = data
        return name, fresh

    def read(self, name: str) -> bytes:
        """Return the bytes of a blob."""
        if name not in self._kept:
            raise StoreError(f"Blob {name} is missing.")
        return self._kept[name]

    def drop(self, name: str) -> int:
        """Remove a blob, if it is there, and return how many bytes that frees."""
        return len(self._kept.pop(name, b""))

    def names(self) -> Iterator[str]:
        """List every blob, used or not."""
        yield from sorted(self._kept)

    def sync(self) -> None:
        """Do nothing: memory does not outlive the process."""

    def sweep(self) -> int:
        """Do nothing: memory is never written by half."""
        return 0


class DiskBlobs:
    """Blobs as files `<sha256>.safetensors` in one folder.

    A file appears under its name only when it is whole and on the disk: temporary name, fsync, rename; `sync` then
    does the folder's fsync, once for all blobs of a transaction.

    Args:
        folder: The folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def put(self, data: bytes) -> tuple[str, bool]:
        """Keep bytes; return their name, and whether they were not there before. A damaged file is mended."""
        name = digest(data)
        path = self._path(name)
        fresh = not path.exists()
        if not fresh and digest(path.read_bytes()) == name:
            return name, False
        temporary = self._folder / f"{name}.tmp"
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            finally:
                os.close(file)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return name, fresh

    def read(self, name: str) -> bytes:
        """Return the bytes of a blob, verified.

        Raises:
            StoreError: If it is missing, unreadable, or its bytes have changed.
        """
        try:
            data = self._path(name).read_bytes()
        except FileNotFoundError:
            raise StoreError(f"Blob {name} is missing from {self._folder}.") from None
        except OSError as error:
            raise StoreError(f"Blob {name} in {self._folder} cannot be read: {error.strerror}.") from error
        if digest(data) != name:
            raise StoreError(f"Blob {name} in {self._folder} is damaged: its bytes no longer give its name.")
        return data

    def drop(self, name: str) -> int:
        """Remove a blob, if it is there, and return how many bytes that frees."""
        return _remove(self._path(name))

    def names(self) -> Iterator[str]:
        """List every blob, used or not."""
        yield from sorted(path.stem for path in self._folder.glob("*.safetensors"))

    def sync(self) -> None:
        """Write the folder itself to the disk."""
        sync_folder(self._folder)

    def sweep(self) -> int:
        """Remove temporary files of killed writers, and return how many bytes that frees."""
        return sum(_remove(path) for path in self._folder.glob("*.tmp"))


def _remove(path: Path) -> int:
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size


def sync_folder(folder: Path) -> None:
    """Write a folder's list of names to the disk (where the system can).

    Args:
        folder: An existing folder.
    """
    if os.name != "posix":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)

"""Counting FLOPs: by torch's counter where it counts, by documented formulas where it counts nothing.

A multiplication and an addition are two FLOPs, as `torch.utils.flop_counter` counts them. Element-wise operations are
not counted, by it or here.

| operation | formula | source |
| --- | --- | --- |
| `eigh` of `(n, n)` | 9 n³ | Golub & Van Loan 2013, §8.3 |
| `svd` of `(m, n)`, m >= n | 6 m n² + 20 n³ | the same, §8.6 |
| `cholesky` of `(n, n)` | n³ / 3 | the same, §4.2 |
| `solve` of `(n, n)` with k right sides | 2 n³ / 3 + 2 n² k | the same, §3.2 |
| `lstsq` of `(m, n)` with k right sides | 2 m n² − 2 n³ / 3 + 4 m n k | the same, §5.3 |
| `qr` of `(m, n)` | 4 m n² − 4 n³ / 3 | the same, §5.2 |
| `inv` of `(n, n)`, `cholesky_solve` with k right sides | 2 n³, 2 n² k | the same, §3.2 |
| `cdist` of `(m, d)` and `(n, d)` | 3 m n d | difference, square, sum |
| matrix · vector, dot product | 2 m n, 2 n | definition |
| embedding bag of b indices, width d | b d | one addition each |
| linear assignment of `(m, n)` | m² n | Crouse 2016, shortest augmenting path |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

T = TypeVar("T")

_outside: ContextVar[list[float] | None] = ContextVar("flops spent outside torch", default=None)


def charge(flops: float) -> None:
    """Charge work that leaves torch (SciPy, NumPy) to whatever is being counted.

    Args:
        flops: Floating-point operations; see the table at the top of this file for formulas.
    """
    spent = _outside.get()
    if spent is not None:
        spent[0] += flops


def _batch(shape: Any) -> int:
    size = 1
    for extent in shape[:-2]:
        size *= extent
    return size


def _eigh(a: Any, *args: Any, **kwargs: Any) -> int:
    return int(_batch(a) * 9 * a[-1] ** 3)


def _svd(a: Any, *args: Any, **kwargs: Any) -> int:
    m, n = max(a[-2:]), min(a[-2:])
    return int(_batch(a) * (6 * m * n**2 + 20 * n**3))


def _cholesky(a: Any, *args: Any, **kwargs: Any) -> int:
    return int(_batch(a) * a[-1] ** 3 / 3)


def _solve(a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    n, k = a[-1], b[-1] if len(b) == len(a) else 1
    return int(_batch(a) * (2 * n**3 / 3 + 2 * n**2 * k))


def _lstsq(a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    m, n = a[-2:]
    k = b[-1] if len(b) == len(a) else 1
    return int(_batch(a) * (2 * m * n**2 - 2 * n**3 / 3 + 4 * m * n * k))


def _qr(a: Any, *args: Any, **kwargs: Any) -> int:
    m, n = max(a[-2:]), min(a[-2:])
    return int(_batch(a) * (4 * m * n**2 - 4 * n**3 / 3))


def _inv(a: Any, *args: Any, **kwargs: Any) -> int:
    return int(_batch(a) * 2 * a[-1] ** 3)


def _cholesky_solve(b: Any, a: Any, *args: Any, **kwargs: Any) -> int:
    return int(_batch(a) * 2 * a[-1] ** 2 * b[-1])


def _cdist(a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    return int(_batch(a) * 3 * a[-2] * b[-2] * a[-1])


def _mv(a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    return int(2 * a[0] * a[1])


def _addmv(c: Any, a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    return int(2 * a[0] * a[1])


def _dot(a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    return int(2 * a[0])


def _embedding_bag(weight: Any, indices: Any, *args: Any, **kwargs: Any) -> int:
    return int(indices[0] * weight[1])


_aten = torch.ops.aten
COUNTED: dict[Any, Callable[..., int]] = {
    _aten._linalg_eigh: _eigh,
    _aten._linalg_svd: _svd,
    _aten.linalg_cholesky_ex: _cholesky,
    _aten.cholesky: _cholesky,
    _aten._linalg_solve_ex: _solve,
    _aten.linalg_solve_triangular: _solve,
    _aten.linalg_lstsq: _lstsq,
    _aten.linalg_qr: _qr,
    _aten.linalg_inv_ex: _inv,
    _aten.cholesky_solve: _cholesky_solve,
    _aten.linalg_pinv: _svd,
    _aten._cdist_forward: _cdist,
    _aten._euclidean_dist: _cdist,
    _aten.mv: _mv,
    _aten.addmv: _addmv,
    _aten.dot: _dot,
    _aten._embedding_bag: _embedding_bag,
    _aten._embedding_bag_forward_only: _embedding_bag,
}


def counted(work: Callable[[], T]) -> tuple[T, float]:
    """Do some work and count its FLOPs.

    Args:
        work: What to do.

    Returns:
        What it returned, and its FLOPs.
    """
    outside = [0.0]
    token = _outside.set(outside)
    try:
        with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
            result = work()
    finally:
        _outside.reset(token)
    return result, float(counter.get_total_flops()) + outside[0]


class Ledger:
    """What was spent on one task, by purpose, against what may be spent.

    Attributes:
        limit: FLOPs that may be spent.
        flops: FLOPs by purpose ("profile", "select", "learn", ...).
        seconds: CPU seconds by purpose.
    """

    def __init__(self, limit: float) -> None:
        """Open an empty ledger.

        Args:
            limit: FLOPs that may be spent.
        """
        self.limit = limit
        self.flops: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    @property
    def spent(self) -> float:
        """FLOPs spent so far, on everything."""
        return sum(self.flops.values())

    @property
    def left(self) -> float:
        """FLOPs that may still be spent; never below 0."""
        return max(0.0, self.limit - self.spent)

    def pay(self, purpose: str, flops: float, seconds: float = 0.0) -> None:
        """Enter an expense.

        Args:
            purpose: What for.
            flops: FLOPs.
            seconds: CPU seconds.
        """
        self.flops[purpose] = self.flops.get(purpose, 0.0) + flops
        self.seconds[purpose] = self.seconds.get(purpose, 0.0) + seconds

    @contextmanager
    def counting(self, purpose: str) -> Iterator[None]:
        """Count and pay all FLOPs of a block of one-off work.

        Args:
            purpose: What for.
        """
        outside = [0.0]
        token = _outside.set(outside)
        start = time.process_time()
        try:
            with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
                yield
        finally:
            _outside.reset(token)
            self.pay(purpose, float(counter.get_total_flops()) + outside[0], time.process_time() - start)

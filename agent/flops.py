"""FLOPs of a block: by torch's formulas where it counts, by documented ones where it counts nothing.

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

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry


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


_aten, _prim = torch.ops.aten, torch.ops.prim
COUNTED: Final[Mapping[Any, Callable[..., int]]] = {
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
# Questions about a tensor, which are answered without an operation.
_QUESTIONS: Final = frozenset(
    (
        _aten.sym_is_contiguous.default,
        _aten.is_contiguous.default,
        _aten.is_contiguous.memory_format,
        _aten.is_strides_like_format.default,
        _aten.is_non_overlapping_and_dense.default,
        _aten.size.default,
        _aten.sym_size.default,
        _aten.stride.default,
        _aten.sym_stride.default,
        _aten.storage_offset.default,
        _aten.sym_storage_offset.default,
        _aten.numel.default,
        _aten.sym_numel.default,
        _aten.dim.default,
        _prim.layout.default,
    )
)


def _by_shape(formula: Callable[..., int]) -> Callable[..., int]:
    def of(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        return formula(*(a.shape if isinstance(a, Tensor) else a for a in args), **kwargs)

    return of


_FORMULAS: Final[Mapping[Any, Callable[..., int]]] = {
    **flop_registry,
    **{operation: _by_shape(formula) for operation, formula in COUNTED.items()},
}
# Of every operation that was met and does not consist of others: its formula, if it has one.
_met: dict[Any, Callable[..., int] | None] = {}


class Counter(TorchDispatchMode):
    """Adds up the FLOPs of what is done inside it.

    `FlopCounterMode`, whose sums are the same, also books them by module, and looks at every operation anew: with small
    networks that takes longer than the work. Counters may be nested; each counts what is done inside it.

    Attributes:
        flops: So far.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        """Count nothing yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and the wrapper that this asks for costs as much as a small operation

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do one operation, and count it."""
        kwargs = kwargs or {}
        if func not in _met:
            if func in _QUESTIONS:
                return NotImplemented
            if isinstance(func, torch._ops.HigherOrderOperator):  # a branch or a loop: torch knows what counts of it
                with FlopCounterMode(display=False, custom_mapping=dict(COUNTED)) as counter:
                    out = func(*args, **kwargs)
                self.flops += counter.get_total_flops()
                return out
            if func is not _prim.device.default:
                with self:  # without autograd, operations that consist of others arrive whole
                    out = func.decompose(*args, **kwargs)
                if out is not NotImplemented:
                    return out
            _met[func] = _FORMULAS.get(func._overloadpacket)
        out = func(*args, **kwargs)
        formula = _met[func]
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out

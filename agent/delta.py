"""Deltas: what a fine-tuned encoder differs in from the version it was made from — its biases, or low-rank updates.

Low-rank updates of the weights are LoRA (Hu 2022, arXiv 2106.09685), biases alone are BitFit (Ben Zaken 2022, arXiv
2106.10199). The store keeps the difference, a few per cent of a copy; read back it gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import StoreError
from .encoder import Encoder

if TYPE_CHECKING:
    from .store_reader import StoreReader

Kind = Literal["low-rank", "bias"]
_DOWN, _UP, _BIAS = ".down", ".up", "bias"


class DeltaEncoder(Encoder):
    """A frozen encoder and what is learned beside it: its biases, or `W + U D` in place of every weight W.

    Attributes:
        base: The encoder it starts from; never trained.
        kind: "low-rank" or "bias".
    """

    name: ClassVar[str] = "delta"

    def __init__(self, base: Encoder, kind: Kind, rank: int, rng: torch.Generator) -> None:
        """Start where the base stands: the biases are its own, the low-rank updates are zero.

        Args:
            base: The encoder to start from.
            kind: "low-rank" or "bias".
            rank: Most columns of U; fewer where the weight itself is smaller.
            rng: Draws D; U starts at zero (Hu 2022, §4.1).
        """
        nn.Module.__init__(self)
        self.input_shape, self.feature_size, self.settings = base.input_shape, base.feature_size, base.settings
        self.kind = kind
        self.base = base.requires_grad_(False)
        self._names = bases(base, kind)
        weights = dict(base.named_parameters())
        first: list[Tensor] = []
        second: list[Tensor] = []
        for name in self._names:
            weight = weights[name]
            if kind == "bias":
                first.append(weight.clone())
                continue
            rows, columns = len(weight), weight[0].numel()
            r = min(rank, rows, columns)
            drawn = torch.randn(r, columns, generator=rng) / columns**0.5
            first.append(drawn.to(weight.device))
            second.append(torch.zeros(rows, r, device=weight.device))
        self._first = nn.ParameterList(first)  # biases, or D
        self._second = nn.ParameterList(second)  # U

    def build(self) -> int:
        """Create nothing: the base is there."""
        return self.feature_size

    @property
    def spec(self) -> dict[str, Any]:
        """The base's: with `whole` put into it, it is the same function."""
        return self.base.spec

    def requires_grad_(self, requires_grad: bool = True) -> DeltaEncoder:
        """Let the delta be trained, or not; the base never is."""
        for parameter in (*self._first, *self._second):
            parameter.requires_grad_(requires_grad)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Encode inputs of shape `(n, *input_shape)` as features of shape `(n, feature_size)`."""
        features: Tensor = functional_call(self.base, patched(self.base.state_dict(), self._difference()), (x,))
        return features

    def difference(self) -> dict[str, Tensor]:
        """Copy what the store keeps: new biases by name, or D and U of every weight as `name.down` and `name.up`."""
        return {name: tensor.detach().clone() for name, tensor in self._difference().items()}

    def whole(self) -> dict[str, Tensor]:
        """Copy the weights of the plain encoder that is the same function."""
        return {n: t.detach().clone() for n, t in patched(self.base.state_dict(), self._difference()).items()}

    def _difference(self) -> dict[str, Tensor]:
        if self.kind == "bias":
            return dict(zip(self._names, self._first, strict=True))
        pairs = zip(self._names, self._first, self._second, strict=True)
        return {name + end: t for name, down, up in pairs for end, t in ((_DOWN, down), (_UP, up))}


def bases(encoder: Encoder, kind: str) -> tuple[str, ...]:
    """Name the parameters of an encoder that a delta of a kind changes.

    Args:
        encoder: The encoder.
        kind: "low-rank" takes matrices and kernels, "bias" what is called so.
    """
    if kind == "bias":
        return tuple(n for n, _ in encoder.named_parameters() if n.rpartition(".")[2] == _BIAS)
    return tuple(n for n, p in encoder.named_parameters() if p.dim() > 1)


def patched(weights: Mapping[str, Tensor], difference: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a delta onto weights.

    Args:
        weights: Of the version it was made from, by name.
        difference: New tensors by name; or `name.down`, shape `(r, columns)`, and `name.up`, shape `(rows, r)`, whose
            product is added to the weight of that name, seen as `(rows, columns)`.

    Returns:
        All weights, by name; those that do not change are the given ones.

    Raises:
        StoreError: If the delta changes something that is not there, or of another size.
    """
    made = dict(weights)
    for name, tensor in difference.items():
        if name.endswith(_UP):
            continue
        of = name.removesuffix(_DOWN)
        try:
            old = weights[of]
            made[of] = tensor if of == name else old + (difference[of + _UP] @ tensor).view(old.shape)
            fits = made[of].shape == old.shape
        except (KeyError, RuntimeError):
            fits = False
        if not fits:
            raise StoreError(f"the delta's {name!r} does not fit the encoder it should change")
    return made


def truncated(weights: Mapping[str, Tensor], parent: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Write down what weights differ in from those they were made from, matrices by their leading singular vectors.

    Args:
        weights: All weights, by name.
        parent: Those of the version that they were made from: the same names and shapes.
        rank: Most columns that are kept of every matrix or kernel, seen as `(rows, columns)`.

    Returns:
        A "low-rank" delta for `patched`: the nearest one of that rank in the Frobenius norm (Eckart & Young 1936); what
        is no matrix is kept whole where it changed.
    """
    made: dict[str, Tensor] = {}
    for name, old in parent.items():
        change = weights[name] - old
        if not bool(change.any()):
            continue
        if old.dim() < 2 or not old.is_floating_point():
            made[name] = weights[name].clone()
            continue
        u, s, v = torch.linalg.svd(change.flatten(1), full_matrices=False)
        made[name + _UP], made[name + _DOWN] = (u[:, :rank] * s[:rank]).contiguous(), v[:rank].contiguous()
    return made


def truncation_flops(weights: Mapping[str, Tensor]) -> float:
    """Tell what `truncated` takes at most, in FLOPs: a singular value decomposition of every matrix.

    Args:
        weights: All weights, by name.
    """
    sides = [(len(each), each[0].numel()) for each in weights.values() if each.dim() > 1]
    return float(sum(6 * max(pair) * min(pair) ** 2 + 20 * min(pair) ** 3 for pair in sides))


def stored_form(encoder: Encoder, on_parent: bool) -> tuple[str, dict[str, Tensor]]:
    """Tell how an encoder is stored.

    Args:
        encoder: The encoder.
        on_parent: Whether the version that it was made from stays its parent in the store.

    Returns:
        "whole" and its weights, or the kind of its delta and the difference.
    """
    if isinstance(encoder, DeltaEncoder):
        return (encoder.kind, encoder.difference()) if on_parent else ("whole", encoder.whole())
    return "whole", {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}


def whole_weights(store: StoreReader, entry: str) -> dict[str, Tensor]:
    """Read an encoder's weights; a delta is put onto those of the version that it was made from.

    Args:
        store: The store.
        entry: Id of the encoder.

    Returns:
        All weights, by name, in memory of their own.
    """
    found, weights = store.encoder(entry), store.weights(entry)
    whole = found.delta == "whole" or found.parent is None
    return weights if whole else patched(whole_weights(store, str(found.parent)), weights)

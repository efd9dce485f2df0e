"""The counter gives the sums of torch's own, whatever is counted and however counters are nested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.flop_counter import FlopCounterMode

from evermap.agent.flops import COUNTED, Counter


def _train(net: nn.Module, shape: tuple[int, ...]) -> Callable[[], Any]:
    def step() -> None:
        optimiser = torch.optim.AdamW(net.parameters(), lr=0.01, fused=True)
        F.cross_entropy(net(torch.randn(shape)), torch.zeros(shape[0], dtype=torch.long)).backward()
        optimiser.step()

    return step


def _meta_step() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
    start = {name: p.detach() for name, p in net.named_parameters()}

    def loss(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(functional_call(net, params, (x,)), y)

    def after(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        inner = grad(loss)(params, x, y)
        return loss({name: p - 0.1 * inner[name] for name, p in params.items()}, x, y)

    vmap(grad(after), in_dims=(None, 0, 0))(start, torch.randn(3, 6, 4), torch.randn(3, 6, 1))


def _linear_algebra() -> None:
    a = torch.randn(7, 5, dtype=torch.float64)
    square = a.T @ a + torch.eye(5, dtype=torch.float64)
    torch.linalg.eigh(square)
    torch.linalg.svd(a, full_matrices=False)
    torch.linalg.pinv(a)
    torch.linalg.inv(square)
    torch.linalg.solve(square, a.T)
    torch.linalg.lstsq(a, a[:, :2])
    torch.linalg.qr(a)
    torch.cholesky_solve(a.T, torch.linalg.cholesky(square))
    torch.cdist(a, a[:3])
    a @ a[0]
    a[0] @ a[1]


def _without_autograd() -> None:
    with torch.no_grad():
        F.linear(torch.randn(2, 3, 4), torch.randn(5, 4), torch.randn(5))
        torch.matmul(torch.randn(2, 3, 4), torch.randn(4, 6))
        torch.einsum("bij,bjk->bik", torch.randn(2, 3, 4), torch.randn(2, 4, 5))
    with torch.inference_mode():
        F.linear(torch.randn(2, 3, 4), torch.randn(5, 4), torch.randn(5))
        F.scaled_dot_product_attention(*(torch.randn(1, 2, 4, 8) for _ in range(3)))
        F.conv2d(torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3))


def _conv() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def _text() -> None:
    bag = nn.EmbeddingBag(20, 6)
    bag(torch.arange(10).reshape(2, 5)).sum().backward()
    with torch.no_grad():
        bag(torch.arange(10).reshape(2, 5))


def _branch() -> None:
    a = torch.randn(4, 4)
    torch.ops.higher_order.cond(torch.tensor(True), lambda a: a @ a @ a, lambda a: a @ a, (a,))


WORK = {
    "a training step of an MLP": _train(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), (5, 6)),
    "a training step with convolutions": _train(_conv(), (2, 1, 8, 8)),
    "a meta-step under vmap": _meta_step,
    "linear algebra": _linear_algebra,
    "without autograd": _without_autograd,
    "texts": _text,
    "a branch": _branch,
    "nothing that counts": lambda: torch.ones(3).add(1).relu().sum().item(),
}


@pytest.mark.parametrize("name", WORK)
def test_the_sum_is_that_of_torchs_own_counter(name: str) -> None:
    work = WORK[name]
    with FlopCounterMode(display=False, custom_mapping=dict(COUNTED)) as theirs:
        work()
    for _ in range(2):  # the second time every operation was met before
        with Counter() as ours:
            work()
        assert ours.flops == theirs.get_total_flops()
    assert (ours.flops > 0) == (name != "nothing that counts")


def test_nested_counters_count_what_is_inside_each() -> None:
    a = torch.ones(3, 3)
    with Counter() as outer:
        a @ a
        with Counter() as inner:
            a @ a
        with torch.no_grad(), Counter() as other:
            F.linear(a, a)
    assert inner.flops == other.flops == 2 * 27
    assert outer.flops == 3 * 2 * 27


def test_an_error_inside_ends_the_counting() -> None:
    a = torch.ones(3, 3)
    with pytest.raises(RuntimeError), Counter() as counter:
        a @ torch.ones(2, 2)
    a @ a
    assert counter.flops == 0

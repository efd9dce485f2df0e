import pytest
import torch
from torch import nn

from evermap.agent.budget import Ledger, charge, counted


def spent(work) -> float:
    return counted(work)[1]


def spd(n: int) -> torch.Tensor:
    return 2 * torch.eye(n, dtype=torch.float64)


M, N, K, D = 7, 5, 3, 4

# The table at the top of agent/budget.py, row by row.
TABLE = {
    "eigh": (lambda: torch.linalg.eigh(spd(N)), 9 * N**3),
    "eigvalsh": (lambda: torch.linalg.eigvalsh(spd(N)), 9 * N**3),
    "svd, tall": (lambda: torch.linalg.svd(torch.ones(M, N)), 6 * M * N**2 + 20 * N**3),
    "svd, wide": (lambda: torch.linalg.svd(torch.ones(N, M)), 6 * M * N**2 + 20 * N**3),
    "cholesky": (lambda: torch.linalg.cholesky(spd(6)), 6**3 / 3),
    "old cholesky": (lambda: spd(6).cholesky(), 6**3 / 3),
    "solve": (lambda: torch.linalg.solve(spd(6), torch.ones(6, K, dtype=torch.float64)), 2 * 6**3 / 3 + 2 * 6**2 * K),
    "solve, a vector": (
        lambda: torch.linalg.solve(spd(6), torch.ones(6, dtype=torch.float64)),
        2 * 6**3 / 3 + 2 * 6**2,
    ),
    "lstsq": (
        lambda: torch.linalg.lstsq(torch.eye(9, 6), torch.ones(9, K)),
        2 * 9 * 6**2 - 2 * 6**3 / 3 + 4 * 9 * 6 * K,
    ),
    "qr": (lambda: torch.linalg.qr(torch.ones(7, 6)), 4 * 7 * 6**2 - 4 * 6**3 / 3),
    "inv": (lambda: torch.linalg.inv(spd(N)), 2 * N**3),
    "cholesky_solve": (lambda: torch.cholesky_solve(torch.ones(N, K, dtype=torch.float64), spd(N)), 2 * N**2 * K),
    "cdist": (lambda: torch.cdist(torch.ones(M, D), torch.ones(N, D)), 3 * M * N * D),
    "cdist, many rows": (lambda: torch.cdist(torch.ones(30, D), torch.ones(40, D)), 3 * 30 * 40 * D),
    "matrix · vector": (lambda: torch.ones(M, N) @ torch.ones(N), 2 * M * N),
    "dot": (lambda: torch.ones(N) @ torch.ones(N), 2 * N),
    "embedding bag": (
        lambda: nn.functional.embedding_bag(torch.tensor([0, 1, 1]), torch.ones(6, D), torch.tensor([0, 2])),
        3 * D,
    ),
    # counted by torch itself
    "matrix · matrix": (lambda: torch.ones(M, N) @ torch.ones(N, K), 2 * M * N * K),
    "linear": (lambda: nn.functional.linear(torch.ones(M, N), torch.ones(K, N), torch.ones(K)), 2 * M * N * K),
    "conv": (lambda: nn.functional.conv2d(torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3)), 2 * 2 * 4 * 36 * 27),
    "element-wise": (lambda: torch.ones(M, N).exp() + 1, 0),
}


@pytest.mark.filterwarnings("ignore:torch.cholesky is deprecated")
@pytest.mark.parametrize("row", TABLE)
def test_the_table_of_formulas(row):
    work, expected = TABLE[row]
    assert spent(work) == pytest.approx(expected, abs=1)  # formulas with thirds are cut to whole FLOPs


def test_a_batch_of_matrices_costs_as_much_as_each_of_them():
    assert spent(lambda: torch.linalg.eigh(torch.stack([spd(N)] * 4))) == 4 * 9 * N**3
    assert spent(lambda: torch.cdist(torch.ones(2, M, D), torch.ones(2, N, D))) == 2 * 3 * M * N * D


def test_a_step_of_an_mlp_by_hand():
    # 8 samples, 10 -> 6 -> 3. Forward 2·8·(60 + 18); backward: gradients of both weights cost the same once more, that
    # of the hidden layer 2·8·18; the input needs none. The optimiser is element-wise.
    net = nn.Sequential(nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 3))
    adam = torch.optim.AdamW(net.parameters())
    x, y = torch.ones(8, 10), torch.zeros(8, dtype=torch.int64)

    def step():
        adam.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        adam.step()

    forward = 2 * 8 * (10 * 6 + 6 * 3)
    assert spent(step) == forward + forward + 2 * 8 * 18
    net[0].requires_grad_(False)  # the head alone: only its own weight has a gradient
    assert spent(step) == forward + 2 * 8 * 18


def test_what_leaves_torch_is_charged():
    assert counted(lambda: charge(7.5)) == (None, 7.5)
    charge(1.0)  # nobody counts: nothing happens


def test_what_is_charged_inside_is_not_lost_to_an_error():
    with pytest.raises(RuntimeError):
        counted(lambda: (_ for _ in ()).throw(RuntimeError()))
    assert spent(lambda: charge(2)) == 2


def test_a_ledger_adds_up_by_purpose():
    ledger = Ledger(100)
    ledger.pay("probe", 30, 1.5)
    ledger.pay("learn", 20)
    ledger.pay("probe", 10, 0.5)
    assert (ledger.spent, ledger.left) == (60, 40)
    assert ledger.flops == {"probe": 40, "learn": 20}
    assert ledger.seconds["probe"] == 2
    ledger.pay("learn", 80)
    assert ledger.left == 0, "never below zero"


def test_a_ledger_counts_a_block_and_pays_also_when_it_fails():
    ledger = Ledger(1e6)
    with ledger.counting("probe"):
        charge(5)
        _ = torch.ones(M, N) @ torch.ones(N, K)
    assert ledger.flops == {"probe": 5 + 2 * M * N * K}
    with pytest.raises(KeyError), ledger.counting("probe"):
        {}[charge(4)]
    assert ledger.flops["probe"] == 9 + 2 * M * N * K
    assert ledger.seconds["probe"] > 0

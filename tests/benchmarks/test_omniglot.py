import importlib.util
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from evermap.strategies.meta_gradient import meta_gradient

FILE = Path(__file__).parents[2] / "benchmarks" / "omniglot.py"
DRAWINGS = 20
TINY_MAML = ["--filters=8", "--classes=8", "--ways=4", "--samples=3"]
PUBLISHERS = {"background": {"Greek": 3, "Armenian": 3}, "evaluation": {"Tibetan": 2, "Angelic": 3}}


@pytest.fixture(scope="module")
def omniglot() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_omniglot", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Both archives in the publisher's layout: 1-bit drawings of 105x105 pixels, ink 0, paper 1."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (root / "omniglot-py").mkdir()
    number = 0
    for part, alphabets in PUBLISHERS.items():
        with zipfile.ZipFile(root / "omniglot-py" / f"images_{part}.zip", "w") as archive:
            for alphabet, characters in alphabets.items():
                for character in range(1, characters + 1):
                    number += 1
                    shape = rng.random((7, 7)) < 0.5
                    for drawing in range(1, DRAWINGS + 1):
                        ink = np.kron(shape ^ (rng.random((7, 7)) < 0.05), np.ones((15, 15), bool))
                        held = io.BytesIO()
                        Image.fromarray(~ink).convert("1").save(held, "png")
                        name = f"images_{part}/{alphabet}/character{character:02d}/{number:04d}_{drawing:02d}.png"
                        archive.writestr(name, held.getvalue())
    return root


def test_drawings_are_read_in_the_order_of_their_names(omniglot, folder):
    data = omniglot.load(folder)
    assert data.names[:4] == (
        "Armenian/character01",
        "Armenian/character02",
        "Armenian/character03",
        "Greek/character01",
    )
    assert data.background == 6
    assert data.images.shape == (11, DRAWINGS, 28, 28)
    with zipfile.ZipFile(folder / "omniglot-py" / "images_background.zip") as archive:
        name = next(n for n in archive.namelist() if "Armenian/character02" in n and n.endswith("_07.png"))
        paper = np.asarray(Image.open(io.BytesIO(archive.read(name))))  # bool, True is paper
    ink = data.images[1, 6].float() / 255
    assert abs(float(ink.mean()) - float((~paper).mean())) < 0.02
    assert ink[0, 0] == (not paper[0, 0])


def test_no_character_is_in_both_parts_of_a_split(omniglot, folder):
    data = omniglot.load(folder)
    for name, sizes in (("random", (8, 3)), ("alphabet", (6, 5))):
        training, test = data.split(name)
        assert (len(training), len(test)) == (4 * sizes[0], 4 * sizes[1])
        first = {each.numpy().tobytes() for each in training[: sizes[0]]}
        assert not first & {each.numpy().tobytes() for each in test}
        turned = torch.rot90(training[0], 1, dims=(1, 2))
        assert torch.equal(training[sizes[0]], turned), "a quarter turn makes a class of its own"
        again, _ = data.split(name)
        assert torch.equal(again, training)
    assert torch.equal(data.split("alphabet")[1][:5], data.images[6:])


def test_a_shift_moves_paper_in(omniglot):
    images = torch.zeros(30, 28, 28, dtype=torch.uint8)
    images[:, 14, 10] = 255
    x = omniglot.normalised(images)
    moved = omniglot.shifted(x, 2, torch.Generator().manual_seed(0))
    assert torch.equal(omniglot.shifted(x, 0, torch.Generator()), x)
    places = {tuple((each[0] > 0).nonzero().flatten().tolist()) for each in moved}
    assert {row for row, _ in places} == {12, 13, 14, 15, 16}
    assert {column for _, column in places} == {8, 9, 10, 11, 12}
    assert torch.equal(moved.flatten(1).sort(dim=1).values, x.flatten(1).sort(dim=1).values)


def test_an_episode_has_so_many_drawings_of_so_many_classes(omniglot):
    images = torch.arange(6 * 20, dtype=torch.int64).view(6, 20, 1, 1).expand(6, 20, 28, 28)
    drawn = omniglot.draw(images, 4, 7, torch.Generator().manual_seed(0))[:, :, 0, 0]
    assert drawn.shape == (4, 7)
    assert len({int(n) for n in drawn.flatten()}) == 28
    assert all(len({int(n) // 20 for n in row}) == 1 for row in drawn)


def test_intervals_by_hand(omniglot):
    mean, half = omniglot.interval([0.9, 1.0, 0.8, 0.9])
    assert mean == pytest.approx(90.0)
    assert half == pytest.approx(196 * (0.02 / 3) ** 0.5 / 2, abs=1e-3)
    found = [{"accuracy": a, "half": 0.3} for a in (98.0, 98.4)]
    # Over episodes sqrt(2 · 0.3²) / 2; over two seeds 12.706 standard errors of 0.2.
    assert omniglot._cell(found) == "98.20 ± 0.21 (episodes) ± 2.54 (2 seeds)"
    assert omniglot._cell([]) == "not run yet"


def test_the_shared_episodes_have_the_meta_gradient_of_their_inner_steps(omniglot):
    """A small network in float64: every episode apart, by MAML's own inner step on all weights, head rows equal."""
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh()).double()
    x = torch.randn(4, 3, 6, dtype=torch.float64)  # (classes, samples, ...)
    ways, shots, size = 2, 1, 0.35
    loss = omniglot.one_step_loss(body(x), shots, ways, size, torch.Generator().manual_seed(3))
    found = torch.autograd.grad(loss, list(body.parameters()))
    row = torch.randn(1, 5, dtype=torch.float64)
    start = {f"body.{n}": p.detach() for n, p in body.named_parameters()}
    start |= {"head.weight": row.repeat(ways, 1), "head.bias": torch.full((ways,), 0.7, dtype=torch.float64)}

    def episode_loss(theta, x, y):
        own = {n.removeprefix("body."): p for n, p in theta.items() if n.startswith("body.")}
        features = torch.func.functional_call(body, own, (x,))
        return torch.nn.functional.cross_entropy(features @ theta["head.weight"].T + theta["head.bias"], y)

    dealt = torch.randperm(4, generator=torch.Generator().manual_seed(3)).view(2, 2)
    losses, gradients = [], []
    for classes in dealt.tolist():
        for turn in range(3):
            drawn = x[classes].roll(-turn, dims=1)
            split = (drawn[:, 0], torch.arange(2), drawn[:, 1:].flatten(0, 1), torch.tensor([0, 0, 1, 1]))
            # The loss is a mean over `ways` samples, so that a step of size · ways makes rows of size · mean.
            meta = meta_gradient(episode_loss, start, split, steps=1, lr=size * ways)
            losses.append(float(meta.loss))
            gradients.append([meta.start[f"body.{n}"] for n, _ in body.named_parameters()])
    assert loss.item() == pytest.approx(sum(losses) / 6, abs=1e-12)
    for one, *others in zip(found, *gradients, strict=True):
        assert float((one - sum(others) / 6).abs().max()) < 1e-9
        assert float(one.abs().max()) > 1e-4


def test_runs_are_kept_and_the_table_is_completed(omniglot, folder, tmp_path, capsys):
    results = tmp_path / "results.json"
    common = ["--data", str(folder), "--results", str(results), "--episodes", "5", "--steps", "3"]
    tiny = [*common, "--ways", "5", "--samples", "3", "--filters", "8"]
    # Of the twelve classes of a split of eleven characters twenty cannot be drawn: cells of five ways are all there is.
    omniglot_cells, omniglot.CELLS = omniglot.CELLS, ((5, 1), (5, 5))
    try:
        assert omniglot.main(["protonet", *tiny, "--seeds", "1", "2"]) == 0
        first = json.loads(results.read_text())
        assert list(first) == ["protonet random 1", "protonet random 2"]
        assert first["protonet random 1"]["recipe"]["ways"] == 5
        assert set(first["protonet random 1"]["cells"]) == {"5w1s", "5w5s"}
        assert len(first["protonet random 1"]["curve"]) >= 2
        capsys.readouterr()
        assert omniglot.main(["protonet", *tiny, "--seeds", "2"]) == 0
        assert "protonet random 2 is finished; --again" in capsys.readouterr().out
        assert json.loads(results.read_text()) == first
        assert omniglot.main(["protonet", *tiny, "--shift", "1"]) == 0
        assert "finished with another recipe" in capsys.readouterr().out
        assert omniglot.main(["maml", *common, *TINY_MAML, "--split", "alphabet"]) == 0
        assert omniglot.main(["protonet", *tiny, "--split", "alphabet", "--cells", "5w1s"]) == 0
        assert set(json.loads(results.read_text())["protonet alphabet 1"]["cells"]) == {"5w1s"}
    finally:
        omniglot.CELLS = omniglot_cells
    capsys.readouterr()
    assert omniglot.main(["table", "--results", str(results), "--figure", str(tmp_path / "curve.svg")]) == 0
    drawn = (tmp_path / "curve.svg").read_text("utf-8")
    assert drawn.count("<!-- protonet random -->") == drawn.count("<!-- maml alphabet -->") == 1, "in the legend, once"
    said = capsys.readouterr().out
    rows = {line.split("|")[1].strip(): line.split("|")[2:] for line in said.splitlines() if line.startswith("| ")}
    assert rows["ProtoNet, random"][1].strip() == "1, 2"
    assert "(2 seeds)" in rows["ProtoNet, random"][3]
    assert rows["ProtoNet, random"][5].strip() == "not run yet"
    assert "(one seed)" in rows["MAML, alphabet"][3]
    assert rows["MAML, random"][0].strip() == "–"
    assert [cell.strip() for cell in rows["ProtoNet, alphabet"][4:6]] == ["not run yet", "not run yet"]
    assert "- maml, 5-way 1-shot, 98.0 or more: not run yet" in said


def test_runs_of_two_recipes_are_two_rows(omniglot):
    cells = {"5w1s": {"accuracy": 98.0, "half": 0.1, "episodes": 9}}
    about = {"cpu_seconds": 7, "curve": [], "machine": "m", "torch": "t", "date": "d"}
    runs = [("maml random 1", 3), ("maml random 2", 3), ("maml random 3", 1), ("protonet random 1", 3)]
    results = {name: {"recipe": {"test_steps": steps}, "cells": cells, **about} for name, steps in runs}
    results["protonet random 1"]["recipe"] = {"ways": 60}
    lines = omniglot.table(results).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line.startswith("| MAML, random")]
    assert rows == [["MAML, random", "A", "1, 2"], ["MAML, random", "B", "3"]]
    assert '- B, maml: `{"test_steps": 1}`' in lines
    assert '- C, protonet: `{"ways": 60}`' in lines


def test_the_steps_of_testing_are_plain_gradient_steps_of_their_own_sizes(omniglot):
    """In a plain loop: the head's first step is shorter than learned, the others shorter still."""
    recipe = omniglot.Maml(filters=8, test_steps=3, first=0.5, later=0.2, body_lr=0.1)
    torch.manual_seed(0)
    body = omniglot.network(recipe.down, recipe.filters, running=True)
    for _ in range(30):
        body.train()(torch.randn(20, 1, 28, 28))  # running statistics that are none of the support set's
    x, y = torch.randn(6, 1, 28, 28), torch.arange(3).repeat_interleave(2)
    found = recipe.adapted(body.eval(), 0.07, x, y, 3)

    own = omniglot.network(recipe.down, recipe.filters, running=True).eval()
    own.load_state_dict(body.state_dict())
    head = torch.nn.Linear(own(x).shape[1], 3)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    for size in (0.07 * 3 * 0.5, 0.07 * 3 * 0.2, 0.07 * 3 * 0.2):
        loss = torch.nn.functional.cross_entropy(head(own(x)), y)
        moved = [*own.parameters(), *head.parameters()]
        for p, g in zip(moved, torch.autograd.grad(loss, moved), strict=True):
            p.data -= (size if p is head.weight or p is head.bias else 0.1) * g
    wanted = {f"body.{n}": p for n, p in own.named_parameters()} | {f"head.{n}": p for n, p in head.named_parameters()}
    assert found.keys() == wanted.keys()
    for n, p in wanted.items():
        torch.testing.assert_close(found[n], p.detach(), rtol=1e-4, atol=1e-6)
    start = dict(body.named_parameters())
    assert float((found["body.0.weight"] - start["0.weight"].detach()).abs().max()) > 1e-4, "all weights move"


def test_the_same_seed_gives_the_same_figures(omniglot, folder):
    data = omniglot.load(folder)
    for recipe in (
        omniglot.ProtoNet(steps=2, ways=4, samples=3, filters=8, precision="float32"),
        omniglot.Maml(steps=2, classes=6, ways=3, filters=8),
    ):
        cells, omniglot.CELLS = omniglot.CELLS, ((5, 1),)
        made = [omniglot.run(recipe, data, "random", seed, 4, lambda _: None) for seed in (1, 1, 2)]
        omniglot.CELLS = cells
        assert made[0]["cells"] == made[1]["cells"]
        assert made[0]["cells"] != made[2]["cells"] or made[0]["curve"] != made[2]["curve"]


def test_the_table_goes_between_its_marks(omniglot):
    page = (FILE.parent.parent / "docs" / "omniglot.md").read_text("utf-8")
    assert omniglot.into_page(omniglot.into_page(page, "x"), "y").count("\ny\n") == 1
    with pytest.raises(omniglot.UserError, match="marks"):
        omniglot.into_page("nothing", "x")


def test_the_page_is_what_is_finished(omniglot):
    results = json.loads((FILE.parent.parent / "docs" / "omniglot.json").read_text("utf-8"))
    page = (FILE.parent.parent / "docs" / "omniglot.md").read_text("utf-8")
    assert omniglot.into_page(page, omniglot.table(results)) == page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["protonet", "--data", "nowhere"], "images_background.zip: there is no such file. It comes from https://"),
        (["protonet", "--shots", "5"], "--shots 5: it must be below --samples 5"),
        (["protonet", "--steps", "0"], "--steps 0: it must be greater than 0"),
        (["maml", "--ways", "5"], "--classes 60: there are 12 classes."),
        (["maml", "--shots", "5"], "--shots 5: it must be below --samples 5"),
        (["protonet", "--ways", "50"], "--ways 50: there are 12 classes."),
        (["maml", "--classes", "10"], "--ways 20: it must be at most --classes 10."),
    ],
)
def test_a_mistake_is_one_sentence(omniglot, folder, tmp_path, capsys, arguments, said):
    data = [] if "--data" in arguments else ["--data", str(folder)]
    assert omniglot.main([*arguments, *data, "--results", str(tmp_path / "r.json")]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_results_that_are_none(omniglot, tmp_path, capsys):
    broken = tmp_path / "r.json"
    broken.write_text("{", "utf-8")
    assert omniglot.main(["table", "--results", str(broken)]) == 2
    assert "this is no file of finished runs" in capsys.readouterr().err


def test_an_archive_that_is_none(omniglot, tmp_path):
    (tmp_path / "omniglot-py").mkdir()
    path = tmp_path / "omniglot-py" / "images_background.zip"
    path.write_bytes(b"no archive")
    with pytest.raises(omniglot.UserError, match="cannot be read"):
        omniglot.load(tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(omniglot.UserError, match="holds no drawing"):
        omniglot.load(tmp_path)

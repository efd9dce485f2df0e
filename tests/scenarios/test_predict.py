"""Answers for a user's own inputs, and how they are read."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evermap.agent.store import KnowledgeStore
from evermap.cli import main
from evermap.errors import InputError, RecordError, UserError
from evermap.scenarios.inputs import read_inputs
from evermap.scenarios.predict import predict
from evermap.scenarios.run import make_agent, run
from evermap.scenarios.scenario import load_scenario
from evermap.streams.digits import Digits
from evermap.streams.stream import build_stream

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run over pairs of digits, and a folder of real digits in every form."""
    folder = tmp_path_factory.mktemp("predict")
    changes = ["agent.selector=fixed:prototype", "stream.train_per_class=60", "stream.test_per_class=20", "device=cpu"]
    scenario = load_scenario("digits-split", changes)
    list(run(scenario, folder / "run"))
    data = Digits().load(None)
    x, y = data.x[:8], data.y[:8]
    np.save(folder / "floats.npy", x.numpy())
    np.savez(folder / "levels.npz", x=(16 * x[:, 0]).numpy(), y=y.numpy())
    np.savetxt(
        folder / "rows.csv",
        x.flatten(1).numpy(),
        delimiter=",",
        header=",".join(f"p{i}" for i in range(64)),
        comments="",
    )
    (folder / "images").mkdir()
    for i, image in enumerate(x[:, 0]):
        Image.fromarray((image * 255).round().byte().numpy()).save(folder / "images" / f"{i}.png")
    said = [each["class"] for each in predict(folder / "run", folder / "floats.npy")]
    assert sum(map(int.__eq__, said, y.tolist())) >= 7  # of 8: it has learned them
    return folder, x, said


def test_it_answers_as_the_agent_does(digits):
    folder, x, y = digits
    found = predict(folder / "run", folder / "floats.npy")
    with KnowledgeStore.open(folder / "run" / "store", read_only=True) as store:
        agent = make_agent(load_scenario(folder / "run" / "scenario.toml"), store)
        expected = agent.answer(x, None)
    assert [each["class"] for each in found] == [expected.classes[i] for i in expected.log_probs.argmax(dim=1)]
    assert [each["class"] for each in found] == y
    for each, row in zip(found, expected.log_probs.exp().double(), strict=True):
        assert each["probability"] == pytest.approx(float(row.max()), rel=1e-5)
        assert sum(each["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert (each["name"], each["by"]) == (str(each["class"]), "the anchor")


def test_every_form_of_the_same_inputs_gives_the_same_classes(digits):
    folder, x, y = digits
    for name, options in (("levels.npz", {"scale": 16.0}), ("rows.csv", {}), ("images", {})):
        assert [each["class"] for each in predict(folder / "run", folder / name, **options)] == y, name
    for name, options in (("levels.npz", {"scale": 16.0}), ("rows.csv", {})):
        assert torch.allclose(read_inputs(folder / name, SHAPE, **options)[0], x, atol=1e-6)
    images, names = read_inputs(folder / "images", SHAPE)
    assert torch.allclose(images, x, atol=0.5 / 255 + 1e-6)
    assert names == [f"{i}.png" for i in range(8)]


def test_with_a_task_label_that_tasks_model_answers(digits):
    folder, x, _ = digits
    with KnowledgeStore.open(folder / "run" / "store", read_only=True) as store:
        record = store.task(2)
        agent = make_agent(load_scenario(folder / "run" / "scenario.toml"), store)
        expected = agent.answer(x, record.label).log_probs.exp()
    for name in (record.name, "3"):
        found = predict(folder / "run", folder / "floats.npy", task=name)
        assert {each["class"] for each in found} <= set(record.classes)
        shares = [[each["probabilities"][str(c)] for c in record.classes] for each in found]
        assert torch.allclose(torch.tensor(shares), expected.float(), atol=1e-6)
        assert found[0]["by"] == f"{record.model}, “{record.name}”"
    with pytest.raises(UserError, match="There is no task 'nine'"):
        predict(folder / "run", folder / "floats.npy", task="nine")


def test_the_command_line(digits, capsys):
    folder, _, y = digits
    assert main(["predict", str(folder / "run"), "--input", str(folder / "images"), "--json"]) == 0
    assert [each["class"] for each in json.loads(capsys.readouterr().out)] == y
    assert main(["predict", str(folder / "run"), "--input", str(folder / "images" / "3.png"), "--task", "1"]) == 0
    said = capsys.readouterr().out
    assert "3.png" in said
    assert "%" in said
    assert main(["predict", str(folder / "run"), "--input", str(folder / "levels.npz")]) == 2
    err = capsys.readouterr().err
    assert "has values from 0 to 16; inputs lie between 0 and 1. --scale NUMBER" in err
    assert len(err.splitlines()) == 1


def test_what_is_no_run_is_refused(tmp_path, digits):
    with pytest.raises(RecordError, match="is no run"):
        predict(tmp_path, digits[0] / "floats.npy")


def test_a_run_whose_agent_keeps_no_statistics_needs_a_task(tmp_path):
    changes = ["agent.selector=fixed:prototype", "agent.anchor=none", "stream.train_per_class=10", "device=cpu"]
    list(run(load_scenario("digits-split", changes), tmp_path / "run"))
    np.save(tmp_path / "x.npy", np.zeros((2, *SHAPE), dtype=np.float32))
    with pytest.raises(InputError, match="answers without a task label; give --task NAME"):
        predict(tmp_path / "run", tmp_path / "x.npy")
    assert len(predict(tmp_path / "run", tmp_path / "x.npy", task="1")) == 2


FRUIT = "name,weight,colour,label\n" + "".join(
    f"{'round' if i % 2 else 'long'} one,{'' if i == 3 else 100 + 7 * i},{('red', 'green', 'yellow')[i % 3]},"
    f"{'apple' if i % 2 else 'banana'}\n"
    for i in range(24)
)


def test_rows_of_a_table_are_asked_as_the_run_had_them(tmp_path, capsys):
    (tmp_path / "fruit.csv").write_text(FRUIT)
    settings = '{ path = "fruit.csv", texts = ["name"], text_features = 8 }'
    stream = f'[stream]\nsource = "csv"\nsource_settings = {settings}\nlayout = "split"\nclasses_per_task = 2\n'
    (tmp_path / "fruit.toml").write_text(stream + '[agent]\nselector = "fixed:prototype"\n')
    scenario = load_scenario(tmp_path / "fruit.toml")
    list(run(scenario, tmp_path / "run"))
    seen = build_stream(scenario.stream, scenario.seed)
    expected = seen._supply.take(torch.arange(24))
    with KnowledgeStore.open(tmp_path / "run" / "store", read_only=True) as store:
        table = json.loads(json.dumps(store.manifest()["table"]))
    x, names = read_inputs(tmp_path / "fruit.csv", (12,), table=table)
    assert torch.equal(x, expected)
    assert (names[0], len(names)) == ("fruit.csv row 2", 24)
    assert x[3, 8] == 0  # a missing number takes the mean
    # Other columns do not count, nor their order; the label need not be there.
    rows = [line.split(",") for line in FRUIT.splitlines()]
    (tmp_path / "new.csv").write_text("".join(f"{c},x,{n},{w}\n" for n, w, c, _ in rows).replace(",x,", ",more,", 1))
    assert torch.equal(read_inputs(tmp_path / "new.csv", (12,), table=table)[0], expected)
    assert main(["predict", str(tmp_path / "run"), "--input", str(tmp_path / "new.csv"), "--task", "1", "--json"]) == 0
    answers = [each["name"] for each in json.loads(capsys.readouterr().out)]
    assert sum(said == row[3] for said, row in zip(answers, rows[1:], strict=True)) >= 22
    for wrong, said in (
        (FRUIT.replace("weight", "mass"), "there is no column 'weight'; the run's rows have name, weight, colour."),
        (
            FRUIT.replace("red", "blue", 1),
            "row 2, column 'colour': found 'blue'; its categories are 'green', 'red', ",
        ),
        (FRUIT.replace("100", "heavy", 1), "row 2, column 'weight': found 'heavy'; a number is needed."),
    ):
        (tmp_path / "wrong.csv").write_text(wrong)
        assert main(["predict", str(tmp_path / "run"), "--input", str(tmp_path / "wrong.csv")]) == 2
        assert said in capsys.readouterr().err


# Reading


def test_whole_numbers_are_divided_by_the_greatest_of_their_kind(tmp_path):
    for kind, full in (("uint8", 255), ("uint16", 65535)):
        np.save(tmp_path / "x.npy", np.full((2, *SHAPE), full, dtype=kind))
        assert torch.equal(read_inputs(tmp_path / "x.npy", SHAPE)[0], torch.ones(2, *SHAPE))


@pytest.mark.parametrize("shape", [(3, *SHAPE), SHAPE, (3, 8, 8), (8, 8)])
def test_one_input_or_many_with_or_without_the_one_channel(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.zeros(shape, dtype=np.float32))
    x, names = read_inputs(tmp_path / "x.npy", SHAPE)
    assert x.shape == (3 if shape[0] == 3 else 1, *SHAPE)
    assert len(names) == len(x)


def test_colour_becomes_grey_and_other_sizes_are_resized_on_demand(tmp_path):
    Image.new("RGB", (16, 12), (255, 0, 0)).save(tmp_path / "red.png")
    with pytest.raises(InputError, match=r"has 12 × 16 pixels; the run's images have 8 × 8: resize it, or"):
        read_inputs(tmp_path / "red.png", SHAPE)
    grey = read_inputs(tmp_path / "red.png", SHAPE, resize=True)[0]
    assert torch.allclose(grey, torch.full((1, *SHAPE), 76 / 255), atol=1e-6)
    colour = read_inputs(tmp_path / "red.png", (3, 12, 16))[0]
    assert colour.mean(dim=(0, 2, 3)).tolist() == [1.0, 0.0, 0.0]


def _save(path: Path, content):
    path.write_text(content) if isinstance(content, str) else np.save(path, content)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.npy", np.zeros((2, 9, 9)), "has the shape 2 × 9 × 9; it must be 1 × 8 × 8, or n × 1 × 8 × 8"),
        ("x.npy", np.full((2, 8, 8), 2.0), "has values from 2 to 2; inputs lie between 0 and 1"),
        ("x.npy", np.full((2, 8, 8), -0.5), "has values from -0.5"),
        ("x.npy", np.full((2, 8, 8), np.nan), "holds NaN or infinity"),
        ("x.npy", np.array(["a"]), "not numbers"),
        ("x.npy", np.zeros((0, 8, 8)), "is empty"),
        ("x.npy", "hello", "cannot be read as an array"),
        ("x.csv", "0,1\n0,1\n", "has rows of 2 numbers; an input has 1 × 8 × 8"),
        ("x.csv", "a,b\n", "holds no rows of numbers"),
        ("x.csv", "0,1\n0\n", "line 2 has 1 numbers, the first row has 2"),
        ("x.csv", "0,1\n0,x\n", "line 2 is no row of numbers: 0, x"),
        ("x.png", "hello", "is no image"),
        ("x.txt", "hello", "cannot be read as inputs; valid are .png"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, name, content, said):
    _save(tmp_path / name, content)
    with pytest.raises(InputError) as error:
        read_inputs(tmp_path / name, SHAPE)
    assert said in str(error.value)
    assert str(error.value).startswith(str(tmp_path / name))


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read as an array"):
        read_inputs(tmp_path / "x.npy", SHAPE)


def test_a_folder_without_images_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        read_inputs(tmp_path, SHAPE)
    with pytest.raises(InputError, match="there is no such file or folder"):
        read_inputs(tmp_path / "none.png", SHAPE)
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="is an image; the run's inputs have the shape 5"):
        read_inputs(tmp_path / "x.png", (5,))

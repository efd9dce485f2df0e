from pathlib import Path
from typing import Any

import pytest
import torch

from evermap.errors import DataMissing, RecipeError
from evermap.streams.digits import Digits
from evermap.streams.glyphs import Glyphs
from evermap.streams.source import Sizes, SourceData
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream, build_stream
from evermap.streams.supply import Supply, bring, joined, sizes_of

LETTERS = {"letters": {"source": "glyphs", "settings": {"alphabets": 2, "characters": 5, "samples": 10}}}
MIXED = [
    {"name": "digits", "classes": [3, 8], "train": 20},
    {"name": "letters", "source": "letters", "classes": [0, 9], "train": 4},
    {"name": "some letters", "source": "letters", "classes": 3, "families": [1], "train": 3},
    {"name": "letters relabelled", "classes": "letters", "relabel": True, "train": 2},
    {"name": "digits again", "returns": "digits", "train": 5},
]


def mixed(**fields: object) -> Stream:
    return build_stream(stream_spec(**{"layout": "tasks", "tasks": MIXED, "sources": LETTERS, **fields}), 0)


def test_several_sources_have_one_shape_and_class_ids_of_their_own() -> None:
    stream = mixed()
    assert stream.input_shape == (1, 28, 28)
    assert [task.input_shape for task in stream] == [(1, 28, 28)] * 5
    assert stream.task(0).classes == (3, 8)
    assert stream.task(1).classes == (10, 19)  # behind the ten digits
    assert all(15 <= k < 20 for k in stream.task(2).classes)
    assert stream.task(3).classes == (10, 19)
    assert stream.class_names[3] == "digits: 3"
    assert stream.class_names[19] == "letters: alphabet 1/character 4"
    assert [stream.concept_of(i) for i in range(5)] == [0, 1, 2, 3, 0]


def test_a_task_holds_what_its_source_holds() -> None:
    stream, digits = mixed(), Digits().load(None)
    letters = Glyphs(alphabets=2, characters=5, samples=10).load(None)
    shown = bring(digits.x[(digits.y == 3) | (digits.y == 8)], (1, 28, 28))
    known = {x.tobytes() for x in shown.numpy()}
    assert all(x.tobytes() in known for x in stream.task(0).support.x.numpy())
    drawn = {x.tobytes() for x in letters.x[letters.y == 9].numpy()}
    task = stream.task(1)
    assert all(
        (x.tobytes() in drawn) == (int(y) == 1) for x, y in zip(task.support.x.numpy(), task.support.y, strict=True)
    )


def test_no_image_is_in_both_training_and_test_of_any_source() -> None:
    stream = mixed(tasks=[{**task, "train": "all"} for task in MIXED])
    train = {x.tobytes() for task in stream for x in task.support.x.numpy()}
    test = {x.tobytes() for concept in stream.concepts for x in stream.test(concept.index).x.numpy()}
    assert len(train) > 200
    assert len(test) > 100
    assert not train & test


def test_the_stream_of_one_source_is_the_same_when_another_stands_beside_it() -> None:
    alone = build_stream(stream_spec(layout="tasks", tasks=[MIXED[0]]), 0)
    beside = build_stream(stream_spec(layout="tasks", tasks=MIXED, sources=LETTERS, shape=[1, 8, 8]), 0)
    assert torch.equal(alone.task(0).support.x, beside.task(0).support.x)
    assert torch.equal(alone.test(0).x, beside.test(0).x)
    assert alone.data_hash == Digits().load(None).sha256()
    assert beside.data_hash not in (alone.data_hash, mixed(sources={}, tasks=[{"name": "a"}]).data_hash[:1])


def test_images_are_brought_to_a_shape() -> None:
    x = torch.rand(2, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    assert bring(x, (1, 4, 6)) is x
    coloured = bring(x, (3, 4, 6))
    assert torch.equal(coloured, x.expand(2, 3, 4, 6))
    assert torch.allclose(bring(coloured, (1, 4, 6)), x)
    assert torch.allclose(bring(x, (1, 2, 3)).mean(), x.mean(), atol=0.05)
    assert bring(x, (3, 9, 9)).shape == (2, 3, 9, 9)
    flat = torch.full((1, 1, 8, 8), 0.25)
    assert torch.allclose(bring(flat, (1, 28, 28)), torch.full((1, 1, 28, 28), 0.25))


def test_colour_gives_the_whole_stream_three_channels() -> None:
    tasks = [{"name": "grey"}, {"name": "red", "classes": "grey", "transforms": {"colour": 1}}]
    stream = build_stream(stream_spec(layout="tasks", tasks=tasks, train_per_class=5), 0)
    assert stream.input_shape == (3, 8, 8)
    grey, red = stream.test(0).x, stream.test(1).x
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert not torch.equal(red[:, 0], red[:, 1])
    assert torch.equal(stream.test(0).y, stream.test(1).y)
    with pytest.raises(RecipeError, match=r"stream\.shape: found \[1, 8, 8\]; colour needs 3 channels"):
        build_stream(stream_spec(layout="tasks", tasks=tasks, shape=[1, 8, 8]), 0)


def test_sizes_are_known_without_loading() -> None:
    spec = stream_spec(layout="tasks", tasks=MIXED, sources=LETTERS)
    sizes = sizes_of(spec, "my.toml")
    assert sizes is not None
    data = {"digits": Digits().load(None), "letters": Glyphs(alphabets=2, characters=5, samples=10).load(None)}
    assert sizes == Supply(spec, data).sizes
    assert len(sizes.samples) == 20
    assert sizes.split(0.5)[1][-1] == 5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sources": {}}, "stream.tasks.1.source: found 'letters'; no such source"),
        ({"sources": {"letters": {"source": "glphs"}}}, "stream.sources.letters.source: found 'glphs'; no such source"),
        (
            {"sources": {"letters": {"source": "glyphs", "settings": {"alphabet": 3}}}},
            "stream.sources.letters.settings.alphabet: found 3; glyphs has the settings",
        ),
        (
            {"tasks": [{"name": "a"}, {"name": "b", "source": "csv"}]},
            "stream.sources.csv.settings.path: it is not given; csv needs it",
        ),
        ({"sources": {"letters": {"source": "sinusoids"}}}, "sources of one stream hold the same"),
        ({"shape": [8, 8]}, "stream.shape: found [8, 8]; images have the shape"),
        ({"shape": [2, 8, 8]}, "images have the shape"),
        ({"tasks": [{"name": "a", "families": [0]}]}, "'digits' has no families of classes"),
        ({"tasks": [MIXED[1], {"name": "b", "source": "letters", "families": [2]}]}, "the families 0 to 1"),
        (
            {"tasks": [{**MIXED[1], "classes": [10]}]},
            "stream.tasks.0.classes: found 10; the source has the classes 0 to 9",
        ),
        ({"tasks": [{**MIXED[1], "families": [1]}]}, "stream.tasks.0.families: found [1]; leave it out"),
        ({"tasks": [{**MIXED[1], "classes": 6, "families": [1]}]}, "classes: found 6; these families have 5 classes"),
        ({"tasks": [MIXED[0], MIXED[1], {"name": "x", "source": "letters", "classes": "digits"}]}, "are of 'digits'"),
    ],
)
def test_sources_that_do_not_go_together_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        mixed(**fields)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"layout": "split", "source": "kmnist"}, "stream.source"),
        (
            {"layout": "split", "source": "runes", "sources": {"runes": {"source": "kmnist"}}},
            "stream.sources.runes.source",
        ),
        (
            {"layout": "tasks", "tasks": [{"name": "a"}, {"name": "b", "source": "kmnist"}]},
            "stream.tasks.1.source",
        ),
        (
            {"layout": "ctrl", "stream": "Spl", "roles": ["digits", "glyphs", "kmnist", "mnist", "svhn"]},
            "stream.roles.2",
        ),
    ],
)
def test_missing_data_are_named_with_file_and_field(fields: dict[str, Any], field: str, tmp_path: Path) -> None:
    with pytest.raises(DataMissing) as missing:
        sizes_of(stream_spec(**fields), "my.toml", tmp_path)
    assert str(missing.value).startswith(f"my.toml: {field}: kmnist: train-images-idx3-ubyte or ")
    assert str(missing.value).endswith("with --download the files (20 MB) are fetched there.")


def test_one_source_under_two_names_is_refused() -> None:
    """Its split would be drawn twice: training images under one name would be test images under the other."""
    sources = {name: {"source": "glyphs", "settings": {"seed": 3}} for name in ("runes", "signs")}
    tasks = [{"name": "a", "source": "runes"}, {"name": "b", "source": "signs"}]
    with pytest.raises(RecipeError, match=r"stream\.tasks\.1\.source: found 'signs'; it holds the same as 'runes'"):
        build_stream(stream_spec(layout="tasks", sources=sources, tasks=tasks), 0)


def test_what_is_no_image_keeps_its_shape() -> None:
    spec = stream_spec(layout="split", shape=[3])
    with pytest.raises(RecipeError, match=r"stream\.shape: found \[3\]; the inputs have shape \[2\]"):
        joined(spec, {"digits": Sizes((4, 4), (2,), kind="table")})


def test_samples_of_two_sources_are_not_taken_at_once() -> None:
    spec = stream_spec(layout="tasks", tasks=[{"name": "a"}, {"name": "b", "source": "glyphs"}])
    data = SourceData(torch.rand(4, 1, 2, 2), torch.tensor([0, 0, 1, 1]), ("a", "b"))
    supply = Supply(spec, {"digits": data, "glyphs": data})
    assert torch.equal(supply.take(torch.tensor([5])), data.x[1:2])
    with pytest.raises(ValueError, match="of one source"):
        supply.take(torch.tensor([3, 4]))
    with pytest.raises(IndexError, match="sample 8 of 8"):
        supply.take(torch.tensor([8]))


def test_one_family_after_another() -> None:
    fields = {"source": "glyphs", "source_settings": {"alphabets": 3, "characters": 4, "samples": 5}}
    stream = build_stream(stream_spec(layout="families", **fields), 0)
    assert [task.classes for task in stream] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]
    two = build_stream(stream_spec(layout="families", families=[2, 0], **fields), 0)
    assert [task.name for task in two] == ["family 2", "family 0"]
    for wrong, said in (([0, 0], "every family may stand there once"), ([3], "the source has the families 0 to 2")):
        with pytest.raises(RecipeError, match=said):
            build_stream(stream_spec(layout="families", families=wrong, **fields), 0)
    with pytest.raises(RecipeError, match="the classes of 'digits' have no families"):
        build_stream(stream_spec(layout="families"), 0)


def test_drawing_from_families() -> None:
    fields = {"source": "glyphs", "source_settings": {"alphabets": 6, "characters": 8, "samples": 10}}
    spec = stream_spec(layout="few-shot", tasks=30, ways=4, shots=1, query=2, families=[1, 3, 4], **fields)
    assert {k // 8 for each in build_stream(spec, 0).plans() for k in each.drawn} == {1, 3, 4}
    spec = stream_spec(layout="few-shot", tasks=30, ways=4, shots=1, query=2, one_family=True, **fields)
    alone = [{k // 8 for k in each.drawn} for each in build_stream(spec, 0).plans()]
    assert all(len(each) == 1 for each in alone)
    assert len(set.union(*alone)) > 3


def test_a_repeated_task_is_drawn_anew_each_time() -> None:
    tasks = [{"name": "pair", "repeat": 5, "classes": 2, "train": 3}, {"name": "back", "returns": "pair 4", "train": 2}]
    stream = build_stream(stream_spec(layout="tasks", tasks=tasks), 0)
    assert [task.name for task in stream] == ["pair 1", "pair 2", "pair 3", "pair 4", "pair 5", "back"]
    assert len({task.classes for task in stream}) > 2
    assert stream.task(5).classes == stream.task(3).classes
    with pytest.raises(RecipeError, match=r"stream\.tasks\.0\.train: found 999"):
        build_stream(stream_spec(layout="tasks", tasks=[{"name": "pair", "repeat": 2, "train": 999}]), 0)


def test_every_source_is_scaled_by_its_own_training_samples() -> None:
    def table(shift: float, spread: float) -> SourceData:
        x = torch.stack([shift + spread * torch.arange(20.0), torch.arange(20.0)], dim=1)
        return SourceData(x, torch.arange(20) % 2, ("a", "b"), "table", numbers=(0,))

    tasks = [{"name": "near", "classes": "all"}, {"name": "far", "source": "far", "classes": "all"}]
    spec = stream_spec(layout="tasks", source="near", tasks=tasks)
    stream = Stream(spec, 0, {"near": table(0, 1), "far": table(1000, 50)})
    for task in stream:
        scaled, mark = task.support.x.double().unbind(1)
        assert abs(float(scaled.mean())) < 1e-5
        assert float(scaled.square().mean()) == pytest.approx(1, abs=1e-4)
        assert set(mark.tolist()) <= set(range(20))  # what is no number stays as it is


def test_bytes_become_grey_levels_in_the_shape_of_the_stream() -> None:
    def images(dtype: torch.dtype) -> SourceData:
        x = (torch.arange(10 * 16).reshape(10, 1, 4, 4) % 256).to(torch.uint8)
        return SourceData(x if dtype == torch.uint8 else x.float() / 255, torch.arange(10) % 2, ("a", "b"))

    tasks = [{"name": "digits", "classes": [0, 1]}, {"name": "bytes", "source": "bytes", "classes": "all"}]
    spec = stream_spec(layout="tasks", tasks=tasks)
    made = [Stream(spec, 0, {"digits": Digits().load(None), "bytes": images(d)}) for d in (torch.uint8, torch.float32)]
    assert made[0].input_shape == (1, 8, 8)
    for i in range(2):
        torch.testing.assert_close(made[0].task(i).support.x, made[1].task(i).support.x)
        assert made[0].task(i).support.x.dtype == torch.float32


def test_a_task_that_is_called_all_is_not_what_all_classes_means() -> None:
    tasks = [{"name": "all", "classes": "all", "source": "letters"}, {"name": "digits", "classes": "all"}]
    stream = mixed(tasks=tasks)
    assert stream.task(1).classes == tuple(range(10, 20))  # behind the letters
    alone = build_stream(stream_spec(layout="tasks", tasks=[{"name": "all", "classes": "all"}]), 0)
    assert alone.task(0).classes == tuple(range(10))

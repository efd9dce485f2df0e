import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from evermap.agent.events import Evaluated, Learned, ProbeScore, Profiled
from evermap.errors import OutputError, RecordError
from evermap.scenarios.manifest import ended, hardware, new_manifest, text_hash, versions
from evermap.scenarios.metrics import AccuracyMatrix
from evermap.scenarios.record import RunFolder, check_writable, new_run_dir, read_record
from evermap.scenarios.run_folder import plain, write_atomically

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
MATRIX = AccuracyMatrix(
    np.array([[0.5, np.nan], [0.9, 1 / 3]]), ("a, b", 'c "d"'), (None, 0), (1, None), ((0, 1), ()), (True, False)
)
AVALANCHE = [(0, "Loss_Stream/eval_phase/test_stream", 2.25), (1, "StreamBWT/eval_phase/test_stream", float("nan"))]
RECIPE = 'name = "digits"\n[stream]\ntasks = 2\n'


def manifest() -> dict:
    return new_manifest(run_id="r", scenario="digits", agent="probe", seed=3, recipe=RECIPE, now=NOON)


@pytest.fixture
def run(tmp_path):
    """A whole record of a run that has two events."""
    folder = RunFolder(tmp_path)
    folder.write_manifest(ended(manifest(), "finished", "everything", NOON))
    folder.write_scenario(RECIPE)
    folder.write_events([{"event": "A", "n": 1}])
    folder.append_events([{"event": "B", "text": "zwölf – ✓"}])
    folder.write_matrix(MATRIX)
    folder.write_avalanche(AVALANCHE)
    return tmp_path


def test_what_is_written_is_read(run):
    record = read_record(run)
    assert record.path == run
    assert record.manifest["status"] == "finished"
    assert record.manifest["seed"] == 3
    assert record.manifest["started"] == "2026-03-01T12:00:00+00:00"
    assert record.scenario == {"name": "digits", "stream": {"tasks": 2}}
    assert record.events == [{"event": "A", "n": 1}, {"event": "B", "text": "zwölf – ✓"}]
    assert record.matrix == MATRIX
    assert repr(record.avalanche) == repr(AVALANCHE)
    assert record.problems == ()
    assert sorted(os.listdir(run)) == ["avalanche.csv", "events.jsonl", "manifest.json", "matrix.csv", "scenario.toml"]


def test_events_of_the_run_are_plain_data(run):
    score = ProbeScore("raw", 0.1, None, 0.9)
    events = [
        Profiled(0, 10, 2, 5, (score,), 1e6, 0.1),
        Learned(0, "s", None, 3, 2, "budget", float("nan"), 0.5, 4, float("inf"), 1.0, 0.1),
        Evaluated(0, None, (0.5, float("nan")), ("a", "b"), (10, 10)),
    ]
    RunFolder(run).write_events([event.to_json() for event in events])
    profiled, learned, evaluated = read_record(run).events
    assert profiled["event"] == "Profiled"
    assert profiled["scores"][0]["candidate"] == "raw"
    assert (learned["loss"], learned["flops"]) == (None, None)
    assert evaluated["values"] == [0.5, None]
    assert "NaN" not in (run / "events.jsonl").read_text()
    assert "Infinity" not in (run / "events.jsonl").read_text()


def test_plain_takes_numpy_and_keeps_strings():
    told = {"a": np.float64("nan"), "b": np.arange(2), 3: (np.int64(1), np.True_), "s": "NaN", "set": {2, 1}}
    assert plain(told) == {"a": None, "b": [0, 1], "3": [1, True], "s": "NaN", "set": [1, 2]}


def test_a_run_that_began_has_no_matrix_yet(run):
    (run / "matrix.csv").unlink()
    (run / "avalanche.csv").unlink()
    record = read_record(run)
    assert record.matrix is None
    assert record.avalanche == []


@pytest.mark.parametrize("half", ['{"event": "C", "n":', '{"event": "C"}'])
def test_half_a_line_at_the_end_is_reported_and_dropped(run, half):
    with (run / "events.jsonl").open("a") as file:
        file.write(half)
    record = read_record(run)
    assert len(record.events) == 2
    assert record.problems == (f"events.jsonl ends in half a line ({len(half)} bytes), which was left out",)
    RunFolder(run).append_events([{"event": "D"}])
    mended = read_record(run)
    assert [event["event"] for event in mended.events] == ["A", "B", "D"]
    assert mended.problems == ()


def test_half_a_character_at_the_end_is_half_a_line(run):
    with (run / "events.jsonl").open("ab") as file:
        file.write('{"text": "–'.encode()[:-1])
    assert len(read_record(run).problems) == 1


@pytest.mark.parametrize("name", ["manifest.json", "scenario.toml", "events.jsonl"])
def test_a_missing_file_is_named(run, name):
    (run / name).unlink()
    with pytest.raises(RecordError, match=name):
        read_record(run)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.json", b"{", "manifest.json: is damaged, it is not valid JSON"),
        ("manifest.json", b"[]", "must be a JSON object; found list"),
        ("manifest.json", b"{}", "format is None; this evermap reads 1"),
        ("manifest.json", b'{"format": 2}', "format is 2; this evermap reads 1"),
        ("manifest.json", b'{"format": 1, "status": "?"}', "valid: running, finished, interrupted, failed"),
        ("manifest.json", b'{"format": NaN}', "NaN is no JSON"),
        ("manifest.json", b"\xff", "manifest.json: is damaged, it is not text in UTF-8"),
        ("manifest.json", b"[" * 100_000, "manifest.json: is damaged"),
        ("scenario.toml", b"a = ", "scenario.toml: is not valid TOML"),
        ("scenario.toml", b"\xff", "scenario.toml: is damaged"),
        ("events.jsonl", b'{"a": 1}\n{"a"\n{"a": 2}\n', "events.jsonl: line 2: is damaged"),
        ("events.jsonl", b'{"a": 1}\n\n', "events.jsonl: line 2: is damaged"),
        ("events.jsonl", b"3\n", "line 1: must be a JSON object; found int"),
        ("events.jsonl", b'{"a": "\xff"}\n', "events.jsonl: is damaged, it is not text in UTF-8"),
        ("matrix.csv", b"", "matrix.csv: is no accuracy matrix: there is no line '# classes'"),
        ("matrix.csv", b"\xff", "matrix.csv: is damaged"),
        ("avalanche.csv", b"", "avalanche.csv: must hold lines of 'row,metric,value'"),
        ("avalanche.csv", b"row,metric,value\n1,2\n", "avalanche.csv: must hold lines"),
        ("avalanche.csv", b"row,metric,value\nx,a,1.0\n", "avalanche.csv: must hold lines"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(run, name, content, message):
    (run / name).write_bytes(content)
    with pytest.raises(RecordError) as raised:
        read_record(run)
    assert message in str(raised.value)
    assert str(run / name) in str(raised.value)


def test_what_is_no_record(tmp_path):
    with pytest.raises(RecordError, match=r"there is no manifest.json in it"):
        read_record(tmp_path)
    with pytest.raises(RecordError, match="there is no such folder"):
        read_record(tmp_path / "nowhere")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


class TestNewRunDir:
    def test_the_name_is_readable_and_never_taken_twice(self, tmp_path):
        made = [new_run_dir(tmp_path / "runs", "digits split", "fixed:finetune", 7, NOON) for _ in range(3)]
        assert [path.name for path in made] == [
            "digits-split_fixed-finetune_seed7_20260301-120000",
            "digits-split_fixed-finetune_seed7_20260301-120000-2",
            "digits-split_fixed-finetune_seed7_20260301-120000-3",
        ]
        assert all(path.is_dir() for path in made)

    def test_a_name_cannot_leave_the_folder(self, tmp_path):
        path = new_run_dir(tmp_path, "../../etc/passwd", "..", 0, NOON)
        assert path.parent == tmp_path
        assert path.name == "etc-passwd_unnamed_seed0_20260301-120000"

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "file").touch()
        for base in (tmp_path / "file", tmp_path / "file" / "runs"):
            with pytest.raises(OutputError, match="--out"):
                new_run_dir(base, "s", "a", 0)


class TestCheckWritable:
    def test_a_new_and_an_empty_folder_are_fine(self, tmp_path):
        check_writable(tmp_path / "a" / "b")
        check_writable(tmp_path / "a" / "b")
        assert list((tmp_path / "a" / "b").iterdir()) == []

    def test_what_holds_something_is_not_touched(self, tmp_path):
        (tmp_path / "precious").write_text("1")
        with pytest.raises(OutputError, match="not empty"):
            check_writable(tmp_path)
        assert (tmp_path / "precious").read_text() == "1"

    def test_a_file_and_a_folder_under_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="this is a file"):
            check_writable(tmp_path / "file")
        with pytest.raises(OutputError, match="cannot be written"):
            check_writable(tmp_path / "file" / "below")

    def test_a_folder_without_permission(self, tmp_path):
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="cannot be written"):
            check_writable(tmp_path / "new")


class TestManifest:
    def test_it_can_be_written_and_says_what_was_used(self):
        told = json.loads(json.dumps(manifest()))
        assert told["recipe_sha256"] == text_hash(RECIPE)
        assert told["status"] == "running"
        assert told["ended"] is None
        assert set(told["versions"]) == {"python", "evermap", "torch", "numpy", "avalanche"}
        assert told["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
        assert told["hardware"]["cores"] >= 1
        assert told["hardware"]["cpu"]

    def test_only_an_end_ends_it(self):
        with pytest.raises(ValueError, match="found 'running'"):
            ended(manifest(), "running", "")

    def test_versions_and_hardware_are_the_same_when_asked_again(self):
        assert versions() == versions()
        assert hardware() == hardware()


def test_reading_a_record_needs_neither_torch_nor_avalanche():
    code = (
        "import sys, evermap.scenarios.record, evermap.scenarios.metrics\n"
        "print(sorted({'torch', 'avalanche', 'pydantic', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

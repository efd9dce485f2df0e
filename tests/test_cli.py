"""The command line as a user types it."""

import json
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evermap
from evermap import registry
from evermap.cli import app, main

HEAVY = ("torch", "avalanche", "numpy", "pydantic", "importlib.metadata", "jinja2", "matplotlib")
ROOT = Path(evermap.__file__).parent
TINY = """
description = "Two pairs of digits."
[stream]
layout = "split"
test_per_class = 10
train_per_class = 12
class_order = [0, 1, 2, 3]
classes_per_task = 2
[agent]
selector = "fixed:prototype"
encoder = "mlp"
"""
PLUGIN = '''
from evermap.strategies.scratch import Scratch

class Mine(Scratch):
    """A strategy of my own."""
    name = "mine"

    def learn(self, task, known, rng):
        if task.index == 1:
            raise RuntimeError("the \\x1b[31mdog[/red] ate it")
        yield from super().learn(task, known, rng)
'''


@pytest.fixture(autouse=True)
def _away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test runs in a folder of its own, and plug-ins are forgotten after it."""
    monkeypatch.chdir(tmp_path)
    for name in ("EVERMAP_DEBUG", "EVERMAP_DATA"):
        monkeypatch.delenv(name, raising=False)
    Path("tiny.toml").write_text(TINY)
    Path("mine.py").write_text(PLUGIN)
    before = {kind: dict(found) for kind, found in registry._from_files.items()}
    yield
    for kind, found in before.items():
        registry._from_files[kind] = found


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["list", "-h"]])
def test_help_answers_at_once(arguments: list[str]) -> None:
    code = (
        "import sys; from evermap.cli import main; code = main(sys.argv[1:]);"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules];"
        "print('LOADED', loaded, code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "LOADED [] 0"
    assert done.stderr == ""


def test_every_command_option_and_argument_has_help() -> None:
    import typer.main

    group: Any = typer.main.get_command(app)
    assert set(group.commands) == {
        *("run", "resume", "compare", "list", "show", "validate", "report", "explain", "predict", "regret", "store"),
    }
    for command in (*group.commands.values(), *group.commands["store"].commands.values()):
        assert command.help
        for parameter in command.params:
            assert parameter.help, f"{command.name} {parameter.name}"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"evermap {evermap.__version__}\n"


def test_run_ends_with_the_path_of_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tiny.toml", "--seed", "3", "--out", "here"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "here/report.html"
    assert "[task 2/2]" in said.out
    assert "Average accuracy" in said.out
    assert said.err == ""
    for file in ("report.html", "summary.json", "manifest.json", "scenario.toml", "events.jsonl", "matrix.csv"):
        assert (Path("here") / file).stat().st_size
    manifest = json.loads(Path("here/manifest.json").read_text())
    assert (manifest["seed"], manifest["status"]) == (3, "finished")
    # The command that the report gives makes the same run again.
    assert manifest["command"] == ["evermap", "run", "here/scenario.toml"]
    assert main([*manifest["command"][1:], "--out", "again"]) == 0
    assert Path("again/matrix.csv").read_bytes() == Path("here/matrix.csv").read_bytes()


def test_run_makes_a_folder_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tiny.toml"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"runs/tiny_fixed-prototype_seed0_\d{8}-\d{6}/report\.html", last)
    assert Path(last).is_file()


def test_run_as_json_prints_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--json", "--set", "seed=4", "--selector", "fixed:scratch", "--out", "here"]
    assert main(["run", "tiny.toml", *options]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    events = [json.loads(line) for line in said.out.splitlines()]
    assert [event["event"] for event in events][:2] == ["Evaluated", "TaskStarted"]
    assert events[-1]["event"] == "Summary"
    assert events[-1]["report"] == "here/report.html"
    assert events[-1]["run"]["seed"] == 4
    assert {event["strategy"] for event in events if event["event"] == "Learned"} == {"scratch"}


def test_report_is_made_again_from_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tiny.toml", "--out", "here"]) == 0
    first = {name: (Path("here") / name).read_bytes() for name in ("report.html", "summary.json")}
    for name in first:
        (Path("here") / name).unlink()
    capsys.readouterr()
    assert main(["report", "here"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "here/report.html"
    assert {name: (Path("here") / name).read_bytes() for name in first} == first
    assert main(["report", "here", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(first["summary.json"])
    assert main(["report", "here", "--out", "there"]) == 0
    assert {name: (Path("there") / name).read_bytes() for name in first} == first


def test_several_runs_are_reported_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in ("0", "1"):
        assert main(["run", "tiny.toml", "--out", f"runs/{seed}", "--seed", seed]) == 0
    capsys.readouterr()
    assert main(["report", "runs/0", "runs/1"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "evermap-report/report.html"
    assert re.search(r"fixed:prototype +2 ", said)
    assert main(["report", "runs", "none", "--out", "side", "--baseline", "fixed:prototype", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == 2
    assert told["notes"] == ["Left out: none: there is no such folder; give the folder of a run (runs/<id>)."]
    assert Path("side/report.html").exists()
    assert main(["report", "runs", "--baseline", "other"]) == 2
    assert "--baseline other: is none of the agents; they are fixed:prototype" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "dmeo"], "There is no scenario called 'dmeo'. Did you mean demo?"),
        (["run", "."], "There is no scenario called '.'. `evermap list scenarios` lists what there is."),
        (["run", ""], "There is no scenario called ''. `evermap list scenarios` lists what there is."),
        (["run", "fruit.csv"], "fruit.csv: is a table, and a scenario is a .toml file"),
        (["run", "tiny.toml", "--agent", "avalanche:X"], "found 'avalanche:X'; Avalanche has no strategy of this name"),
        (["run", "none.toml"], "none.toml: there is no such scenario file."),
        (["run", "tiny.toml", "--set", "stream.sauce=1"], "stream.sauce: found 1"),
        (["run", "tiny.toml", "--selector", "fixed:finetnue"], "did you mean 'finetune'?"),
        (["run", "tiny.toml", "--plugin", "none.py"], "none.py: there is no such file."),
        (["run", "tiny.toml", "--selector", "fixed:finetnue", "--out", "new"], "did you mean 'finetune'?"),
        (["run", "tiny.toml", "--device", "cuda", "--out", "new"], "--device cuda: torch finds no CUDA device here"),
        (["run", "tiny.toml", "--out", "."], "--out .: this folder is not empty"),
        (["show", "finetnue"], "Did you mean finetune?"),
        (["report", "none"], "none: there is no such folder"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "cuda" in arguments:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    Path("fruit.csv").write_text("label\n")
    before = sorted(Path().rglob("*"))
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert out == ""
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Missing argument 'SCENARIO'. `evermap run --help` says how it is used."),
        (["frobnicate"], "No such command 'frobnicate'. `evermap --help` says how it is used."),
        (["run", "x", "--sed", "1"], "No such option: --sed (Possible options: --seed, --set, --size). "),
        (["run", "tiny.toml", "--seed", "abc"], "--seed: found 'abc'; a whole number is needed."),
        (["run", "tiny.toml", "--seed=abc"], "--seed: found 'abc'; a whole number is needed."),
        (["run", "tiny.toml", "--device", "tpu"], "--device: found 'tpu'; valid are auto, cpu, cuda."),
        (["run", "tiny.toml", "--size", "tiny"], "--size: found 'tiny'; valid are default, short."),
        (["compare", "x", "--with", "a", "--jobs", "0"], "--jobs: found '0'; it must be at least 1."),
        (["list", "stuff"], "KIND: found 'stuff'; valid are scenarios, strategies, "),
    ],
)
def test_what_cannot_be_parsed_is_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"evermap: {said}")
    assert len(err.splitlines()) == 1
    assert out == ""


def test_ctrl_c_before_anything_began_ends_with_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("evermap.scenarios.seed_list.seeds_of", interrupted)
    assert main(["compare", "tiny.toml", "--with", "probe"]) == 130
    assert capsys.readouterr().err == "evermap: interrupted. What was committed before is kept.\n"


def test_nothing_typed_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for typed in ([], ["store"]):
        assert main(typed) == 2
        out, err = capsys.readouterr()
        assert "Usage: evermap" in out + err


def test_no_word_of_a_help_text_is_taken_for_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer.main

    monkeypatch.setenv("COLUMNS", "400")
    group: Any = typer.main.get_command(app)
    every = [([name], command) for name, command in group.commands.items() if name != "store"]
    every += [(["store", name], command) for name, command in group.commands["store"].commands.items()]
    for words, command in every:
        assert main([*words, "--help"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        for parameter in command.params:
            assert " ".join(parameter.help.split()) in said, f"{words} {parameter.name}"
        assert "<bool>" not in said


def test_a_list_is_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    from evermap.scenarios.scenario import library

    assert main(["list", "scenarios"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(library())
    assert any(line.split()[:1] == ["demo"] and line.rstrip().endswith(".") for line in lines)


def test_nothing_is_cut_where_no_terminal_reads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["run", "tiny.toml", "--out", "here"]) == 0
    capsys.readouterr()
    for words in (["store", "ls", "here"], ["explain", "here", "1"], ["list", "baselines"], ["list", "strategies"]):
        assert main(words) == 0
        assert "…" not in capsys.readouterr().out.replace("_…", ""), words


def test_settings_that_are_wrong_are_blamed_on_who_set_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("wrong.toml").write_text(TINY + "[strategies.finetune]\nlr = 'fast'\n")
    assert main(["run", "wrong.toml", "--out", "new"]) == 2
    assert capsys.readouterr().err == (
        "evermap: wrong.toml: strategies.finetune.lr: found 'fast'; input should be a number.\n"
    )
    assert main(["run", "tiny.toml", "--set", "strategies.finetune.steps=1e99", "--out", "new"]) == 2
    said = "strategies.finetune.steps: found 1e+99; input should be a whole number below 2^63"
    assert capsys.readouterr().err == f"evermap: --set: {said}.\n"
    assert main(["run", "tiny.toml", "--set", "agent.encoder_settings={ hiden = [3] }", "--out", "new"]) == 2
    assert "evermap: --set: agent.encoder_settings.hiden: found [3]; valid settings are" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["broken", "unknown", "bytes", "no csv", "empty csv", "no picture"])
def test_validate_says_what_is_wrong_in_a_file_before_it_loads_torch(text: str) -> None:
    table = '[stream]\nlayout = "split"\nsource = "csv"\nsource_settings = { path = "rows.csv" }\n'
    written = {"broken": b"[stream", "unknown": b"[stream]\nsauce = 1\n", "bytes": b"a = '\xff'\n"}
    Path("file.toml").write_bytes(written.get(text, table.encode()))
    if text == "empty csv":
        Path("rows.csv").write_text("")
    if text == "no picture":
        Path("file.toml").write_text(table.replace("csv", "folder", 1).replace("rows.csv", "."))
        Path("cat").mkdir()
        Path("cat/1.png").write_text("a dog")
    code = (
        "import sys; from evermap.cli import main; code = main(['validate', 'file.toml']);"
        "print('LOADED', [name for name in ('torch', 'avalanche', 'torchvision') if name in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "LOADED [] 2", done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_found_before_learning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evermap.scenarios.run.run", lambda *_, **__: pytest.fail("it began"))
    assert main(["run", "tiny.toml", "--out", "/proc/nowhere"]) == 2
    assert "--out /proc/nowhere: cannot be written (no folder can be made there)" in capsys.readouterr().err


def test_a_strategy_that_fails_is_named_and_the_record_up_to_there_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["run", "tiny.toml", "--plugin", "mine.py", "--selector", "fixed:mine", "--out", "here"])
    out, err = capsys.readouterr()
    assert code == 2
    assert "Kept: 1 of 2 tasks; here/report.html reports them." in err
    assert "Strategy 'mine' failed on task" in err.splitlines()[-1]
    assert "ate it" in err
    assert "\x1b" not in out + err
    assert "Traceback" not in err
    assert json.loads(Path("here/manifest.json").read_text())["status"] == "failed"
    assert "Failed." in Path("here/report.html").read_text()


def test_a_fault_of_ours_is_exit_code_1_and_debug_shows_where(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by [b]zero[/b]")

    monkeypatch.setattr("evermap.reports.report.report", broken)
    assert main(["report", "here"]) == 1
    err = capsys.readouterr().err
    assert err.splitlines()[0] == "evermap: ZeroDivisionError: by [b]zero[/b]"
    assert "--debug shows where" in err
    assert "Traceback" not in err
    assert main(["report", "here", "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    monkeypatch.setenv("EVERMAP_DEBUG", "1")
    assert main(["report", "here"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_ctrl_c_ends_cleanly_and_says_what_was_kept() -> None:
    """In a process of its own: what a library prints while it is imported would stand among the JSON."""
    many = ["--set", "stream.classes_per_task=2", "--set", "stream.class_order=[0,1,2,3,4,5,6,7,8,9]"]
    options = [*many, "--selector", "fixed:scratch", "--out", "here", "--json"]
    command = [sys.executable, "-m", "evermap", "run", "tiny.toml", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            event = json.loads(line)
            if (event["event"], event.get("task")) == ("Evaluated", 1):
                break
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    kept = r"evermap: interrupted\. Kept: [234] of 5 tasks; here/report\.html reports them\. "
    assert re.fullmatch(kept + r"`evermap resume here` goes on from there\.\n", err)
    assert json.loads(out.splitlines()[-1])["run"]["status"] == "interrupted"
    assert json.loads(Path("here/manifest.json").read_text())["status"] == "interrupted"


def test_list_names_everything_with_a_line_and_an_origin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json", "--plugin", "mine.py"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["scenarios", "strategies", "selectors", "encoders", "sources", "baselines"]
    mine = next(each for each in found["strategies"] if each["name"] == "mine")
    assert mine == {"kind": "strategy", "name": "mine", "description": "A strategy of my own.", "origin": "mine.py"}
    assert {"scratch", "finetune", "prototype", "reuse"} <= {each["name"] for each in found["strategies"]}
    for rows in found.values():
        assert all(each["description"] and each["origin"] for each in rows)
    assert main(["list", "strategies"]) == 0
    said = capsys.readouterr().out
    assert "scratch" in said
    assert "Selectors" not in said


def test_list_goes_on_where_a_plugin_cannot_be_imported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise evermap.errors.PluginError("strategy 'x' cannot be imported: [boom]")

    monkeypatch.setattr(registry.Registered, "load", broken)
    assert main(["list", "strategies"]) == 0
    assert "cannot be imported: [boom]" in capsys.readouterr().out


def test_show_a_scenario_with_its_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "tiny.toml"]) == 0
    said = capsys.readouterr().out
    assert "Two pairs of digits." in said
    assert "Stream: 2 tasks" in said
    assert re.search(r"1 +\S.* 0 1 +24", said)
    assert re.search(r"agent\.selector +fixed:prototype", said)


@pytest.mark.parametrize("name", ["finetune", "scratch", "probe", "mlp", "digits"])
def test_show_what_can_be_set(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", name]) == 0
    assert main(["show", name, "--json"]) == 0
    said = capsys.readouterr().out
    (page,) = json.loads(said[said.index("[\n") :])
    assert page["description"]
    for each in page["settings"]:
        assert each["help"], each["name"]
        assert each["name"] in said


def test_encoders_say_what_they_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "conv4", "--json"]) == 0
    (page,) = json.loads(capsys.readouterr().out)
    (small,) = (each for each in page["costs"] if each["input_shape"] == [1, 8, 8])
    weights = 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64  # convolutions, gains and offsets
    flops = 2 * 9 * 64 * (64 + 64 * (16 + 4 + 1))
    assert small == {
        "input_shape": [1, 8, 8],
        "features": 64,
        "parameters": weights,
        "bytes": 4 * weights,
        "flops": flops,
    }
    assert main(["show", "conv4"]) == 0
    assert re.search(r"1×8×8 +64 +111,680 +447 kB +1\.62 MFLOP", capsys.readouterr().out)
    assert main(["list", "encoders"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "19.6 MFLOP for 1×28×28" in said
    assert "1.05 MFLOP for 4096" in said
    assert main(["show", "scratch"]) == 0
    assert "What it takes" not in capsys.readouterr().out


def test_an_encoder_that_cannot_be_built_is_listed_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> int:
        raise ZeroDivisionError("by me")

    monkeypatch.setattr(registry.registered("encoder")["mlp"].load(), "build", broken)
    assert main(["list", "encoders"]) == 0
    assert main(["show", "mlp"]) == 0
    assert "cannot be built with its default settings: ZeroDivisionError: by me" in capsys.readouterr().out


def test_show_says_what_a_run_will_take_and_draws_samples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "tiny.toml", "--figure", "tiny.png"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"A run takes about \S+ m?s CPU for learning and \S+ m?s for evaluation here", said)
    assert "Inputs of shape 1×8×8; when asked, a task label is given." in said
    assert "tiny.png shows samples of 2 tasks." in said
    assert Path("tiny.png").read_bytes().startswith(b"\x89PNG")
    assert main(["show", "tiny.toml", "--json"]) == 0
    (page,) = json.loads(capsys.readouterr().out)
    assert [task["test"] for task in page["tasks"]] == [20, 20]
    assert page["estimate"]["test_bytes"] == 2 * 20 * (64 * 4 + 8)
    assert page["estimate"]["learning"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "tiny.toml", "--figure", "a.gif"], "--figure a.gif: the name must end in .png, .svg, .pdf."),
        (["show", "tiny.toml", "--figure", "no/a.png"], "--figure no/a.png: cannot be written: No such file"),
        (["show", "finetune", "--figure", "a.png"], "only scenarios have samples, and 'finetune' is none"),
        (["show", "tiny.toml", "--size", "short"], "this recipe has no table [short]"),
        (["validate", "none.toml"], "none.toml: there is no such scenario file."),
        (["validate", "wrong.toml"], "wrong.toml: stream.clases: found 3; there is no such field"),
        (["validate", "big.toml"], "big.toml: stream.classes_per_task: found 30; there are 10 classes"),
        (["validate", "short.toml"], "short.toml [short]: stream.classes_per_task: found 30; there are 10 classes"),
        (["validate", "agent.toml"], "hiden"),
    ],
)
def test_what_is_wrong_in_a_scenario_is_said_without_learning(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = '[stream]\nlayout = "split"\n'
    Path("wrong.toml").write_text(stream + "clases = 3\n")
    Path("big.toml").write_text(stream + "classes_per_task = 30\n")
    Path("short.toml").write_text(stream + '[short]\n"stream.classes_per_task" = 30\n')
    Path("agent.toml").write_text(stream + "[agent]\nencoder_settings = { hiden = [3] }\n")
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == ""


def test_validate_says_what_it_found_valid(capsys: pytest.CaptureFixture[str]) -> None:
    Path("two.toml").write_text(TINY + '\n[short]\n"stream.class_order" = [0, 1]\n')
    assert main(["validate", "two.toml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"two\.toml: valid \(default: 2 tasks, 2 test sets, recipe \w{12}, data \w{12}\)", lines[0])
    assert lines[1].startswith("two.toml: valid (short: 1 tasks, 1 test sets")
    assert main(["validate", "two.toml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is True
    assert found["sizes"]["short"]["name"] == "two-short"
    assert found["sizes"]["short"]["recipe_sha256"] != found["sizes"]["default"]["recipe_sha256"]


def test_run_in_the_short_size(capsys: pytest.CaptureFixture[str]) -> None:
    Path("two.toml").write_text(TINY + '\n[short]\n"stream.class_order" = [0, 1]\n"seed" = 5\n')
    assert main(["run", "two.toml", "--size", "short", "--set", "stream.test_per_class=7", "--out", "here"]) == 0
    recipe = tomllib.loads(Path("here/scenario.toml").read_text())
    assert (recipe["name"], recipe["seed"]) == ("two-short", 5)
    assert recipe["stream"]["class_order"] == [0, 1]
    assert recipe["stream"]["test_per_class"] == 7
    assert "short" not in recipe


def test_every_name_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    for kind, rows in json.loads(capsys.readouterr().out).items():
        for each in rows if kind != "scenarios" else rows[:1]:  # every scenario's outline has its own test
            assert main(["show", each["name"]]) == 0
            assert each["name"] in capsys.readouterr().out


def test_the_checkout_runs_without_being_installed_as_a_script() -> None:
    done = subprocess.run([sys.executable, ROOT / "cli.py", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"evermap {evermap.__version__}\n", "")

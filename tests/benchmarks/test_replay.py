import importlib.util
from pathlib import Path

spec = importlib.util.spec_from_file_location("replay", Path(__file__).parents[2] / "benchmarks" / "replay.py")
replay = importlib.util.module_from_spec(spec)
spec.loader.exec_module(replay)


def test_a_thousand_tasks_a_second(capsys):
    found = replay.main(["--seconds", "0.3", "--envs", "8"])
    assert set(found) == {"alone", "vector of 8"}
    assert all(speed > 1000 for speed in found.values())
    assert "tasks/s" in capsys.readouterr().out

import importlib.util
import re
from pathlib import Path

FILE = Path(__file__).parents[2] / "benchmarks" / "prototypes.py"


def test_every_setting_is_compared_with_plain_means(capsys):
    spec = importlib.util.spec_from_file_location("benchmark_prototypes", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--shots", "2", "--noise", "0.3", "--draws", "2"])
    head, _, row = capsys.readouterr().out.splitlines()
    names = [cell.strip() for cell in head.strip("|").split("|")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert names[3:] == [" ".join(each.values()) for each in module.SETTINGS]
    assert cells[:2] == ["2", "30 %"]
    assert re.fullmatch(r"\d\d\.\d \(\d+\.\d\d\)", cells[2])
    assert all(re.fullmatch(r"[+-]\d+\.\d ± \d+\.\d \(\d+\.\d\d\)", cell) for cell in cells[3:])

"""An agent's text that names a competitor: read without evaluating anything, checked by name, type and setting."""

import sys

import pytest

from evermap.errors import RecipeError, UserError
from evermap.scenarios.baseline_catalog import listed_baselines, shown_baseline
from evermap.scenarios.competitor import BOUNDS, is_competitor, parse, table
from evermap.scenarios.scenario import load_scenario
from evermap.streams.setting import Setting


def test_names_arguments_and_aliases_are_read():
    found = parse("avalanche:Replay(mem_size=50, lr=1, shuffle=False, optimiser='sgd')")
    assert found.name == "Replay"
    assert found.arguments == {"mem_size": 50, "lr": 1.0, "shuffle": False, "optimiser": "sgd"}
    assert type(found.arguments["lr"]) is float
    assert parse("avalanche:SI").name == "SynapticIntelligence"
    assert parse("avalanche:CWR*").name == "CWRStar"
    assert parse("avalanche:Naive()").arguments == {}
    assert parse("joint").method is None


def test_only_texts_of_competitors_are_taken_for_them():
    assert all(map(is_competitor, ["independent", "joint", "avalanche:Naive", "avalanche:"]))
    assert not any(map(is_competitor, ["probe", "fixed:joint", "random", "avalanche", ""]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("avalanche:Repaly", "did you mean 'Replay'"),
        ("avalanche:naive", "did you mean 'Naive'"),
        ("avalanche:", "names no strategy"),
        ("avalanche:Replay(mem_size=5", "names no strategy"),
        ("avalanche:Replay(memsize=5)", "no argument 'memsize' (did you mean 'mem_size'?)"),
        ("avalanche:Replay(5)", "given by its name"),
        ("avalanche:Replay(**{'lr': 1})", "given by its name"),
        ("avalanche:Replay(lr=1)(2)", "is no list of arguments"),
        ("avalanche:Replay(mem_size=__import__('os'))", "mem_size must be a number, a word in quotes, True or False"),
        ("avalanche:Replay(mem_size=2.5)", "mem_size is 2.5; a whole number is needed"),
        ("avalanche:Replay(mem_size=True)", "mem_size is True; a whole number is needed"),
        ("avalanche:Replay(mem_size=0)", "at least 1 is needed"),
        ("avalanche:Replay(lr=-1)", "a finite number from 0 on"),
        ("avalanche:Replay(lr=1e999)", "a finite number from 0 on"),
        ("avalanche:PackNet(prune_proportion=2)", "a share from 0 to 1"),
        ("avalanche:EWC(mode='onlin')", "valid are separate and online"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_valid(text, said):
    with pytest.raises(UserError) as error:
        parse(text)
    assert said in str(error.value)


def test_nothing_is_evaluated(tmp_path):
    made = tmp_path / "made"
    with pytest.raises(UserError):
        parse(f"avalanche:Replay(mem_size=open({str(made)!r}, 'w'))")
    assert not made.exists()


def test_defaults_of_a_setting_stand_behind_what_is_given_and_before_the_general_ones():
    from dataclasses import replace

    method = replace(table()["EWC"], defaults={"class-incremental": {"ewc_lambda": 7.0, "lr": 0.1}})
    settled = method.settled({"lr": 0.5}, "class-incremental")
    assert (settled["ewc_lambda"], settled["lr"], settled["batch_size"]) == (7.0, 0.5, 32)
    assert method.settled({}, "task-incremental")["ewc_lambda"] == 100.0


@pytest.mark.parametrize(
    ("text", "setting", "said"),
    [
        ("avalanche:PackNet", Setting.CLASS_INCREMENTAL, "told the task when it is asked"),
        ("avalanche:EWC", Setting.ONLINE, "told where a task ends"),
        ("avalanche:ICaRL", Setting.TASK_INCREMENTAL, "one head for all classes"),
        ("independent", Setting.BLURRY, "needs tasks with boundaries"),
    ],
)
def test_an_impossible_pair_is_refused_with_a_reason(text, setting, said):
    assert said in parse(text).refusal(setting)


def test_regression_and_labels_of_their_own_are_refused_where_they_cannot_be_learned():
    naive = parse("avalanche:Naive")
    assert naive.refusal(Setting.TASK_INCREMENTAL) is None
    assert naive.refusal(Setting.TASK_INCREMENTAL, own_labels=True) is None
    assert "regression" in naive.refusal(Setting.TASK_INCREMENTAL, regression=True)
    assert parse("joint").refusal(Setting.TASK_INCREMENTAL, regression=True) is None


def test_agem_draws_at_least_one_sample_of_every_task():
    agem = parse("avalanche:AGEM")
    assert agem.refusal(Setting.CLASS_INCREMENTAL, tasks=64) is None
    said = agem.refusal(Setting.CLASS_INCREMENTAL, tasks=65)
    assert "sample_size = 64" in said
    assert "sample_size = 65 or more is needed" in said
    assert parse("avalanche:AGEM(sample_size=65)").refusal(Setting.CLASS_INCREMENTAL, tasks=65) is None


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("evermap.scenarios.competitor.find_spec", lambda name: None)
    assert "pip install 'evermap[quadprog]'" in parse("avalanche:GEM").refusal(Setting.TASK_INCREMENTAL)


def test_a_recipe_refuses_before_anything_starts():
    with pytest.raises(RecipeError, match="told the task") as error:
        load_scenario("digits-class", ["agent.selector=avalanche:PackNet"])
    assert error.value.exit_code == 2
    with pytest.raises(RecipeError, match="regression tasks"):
        load_scenario("sinusoids-shift", ["agent.selector=avalanche:Naive"])
    with pytest.raises(RecipeError, match="5 tasks; sample_size = 5 or more") as error:
        load_scenario("digits-split", ['agent.selector="avalanche:AGEM(sample_size=4)"'])
    assert error.value.exit_code == 2
    with pytest.raises(RecipeError, match="did you mean 'avalanche:NAME'"):
        load_scenario("digits-class", ["agent.selector=avalanch:Replay"])
    with pytest.raises(RecipeError, match="did you mean 'avalanche:Replay'"):
        load_scenario("digits-class", ["agent.selector=Replay"])
    with pytest.raises(RecipeError, match="did you mean 'independent'"):
        load_scenario("digits-class", ["agent.selector=independnt"])
    assert load_scenario("digits-class", ['agent.selector="avalanche:Replay(mem_size=3)"']).agent.selector.endswith(
        "3)"
    )


def test_the_table_is_complete_and_its_defaults_are_valid():
    assert len(table()) >= 23
    settings = {setting.value for setting in Setting}
    for name, method in table().items():
        assert method.about.endswith("."), name
        assert set(method.settings) <= settings, name
        assert method.settings, name
        for setting, values in method.defaults.items():
            assert setting in method.settings, name
            parse(f"avalanche:{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})")
        parse(f"avalanche:{name}({', '.join(f'{each.name}={each.default!r}' for each in method.arguments)})")


def test_the_list_says_of_each_what_it_needs_and_supports():
    rows = {row["name"]: row for row in listed_baselines()}
    assert {*BOUNDS, "avalanche:Replay"} <= set(rows)
    assert rows["avalanche:PackNet"]["settings"] == ["task-incremental"]
    assert rows["avalanche:GEM"]["needs"] == ["quadprog"]
    first = rows["avalanche:Replay"]["arguments"][0]
    assert (first["name"], first["default"]) == ("mem_size", 500)
    page = shown_baseline("avalanche:SI")
    assert page["name"] == "avalanche:SynapticIntelligence"
    assert page["settings"][0]["name"] == "si_lambda"


def test_neither_listing_nor_checking_imports_avalanche():
    import subprocess

    code = (
        "import sys; from evermap.scenarios.scenario import load_scenario; from evermap.scenarios.baseline_catalog "
        "import listed_baselines; listed_baselines(); "
        "load_scenario('digits-class', ['agent.selector=avalanche:EWC']); print('avalanche' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_page_lists_every_method_with_its_defaults_and_settings():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "baselines.md").read_text("utf-8")
    letters = {setting.value: setting.value[0].upper() for setting in Setting}
    for name, method in table().items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |") and "incremental" not in line)
        assert f"| {' '.join(letters[each] for each in method.settings)} |" in row, name
        assert method.about in row, name
        common = {each.name for each in table()["Naive"].arguments}
        for each in method.arguments:
            assert each.name in common or f"`{each.name}` {each.default}" in row, name

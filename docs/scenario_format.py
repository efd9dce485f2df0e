"""Writes docs/scenario-format.md from the recipes' schema, field by field.

python -P docs/scenario_format.py           # writes the page
python -P docs/scenario_format.py --check   # exit code 1 where the page is stale
"""

from __future__ import annotations

import argparse
import re
import sys
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from evermap.scenarios.scenario import AgentSpec, BudgetSpec, Scenario
from evermap.streams import spec

PAGE = Path(__file__).with_name("scenario-format.md")
HEAD = """# The format of a scenario

A scenario is a TOML file. This page is written from the schema that checks it, by `python -P docs/scenario_format.py`;
a test fails when it is stale. A field without a default is needed; a field that is not listed is refused, with the
nearest name. `evermap validate my.toml` checks a file, `evermap show my.toml` prints its stream task by task, and
`--set path=value` changes any field of a run from the command line: `--set stream.test_share=0.5`,
`--set stream.tasks.0.train=3`.

## Two sizes

A file may have a table `[short]` with changes that make a short size of it: keys are dotted paths as for `--set`, and
the value of one may be a whole table or list. `evermap run NAME --size short` applies them before `--set`; the run's
name then ends in "-short", and its record holds the recipe as it was resolved.

```toml
[short]
"stream.tasks.0.repeat" = 3
"stream.test_per_class" = 10
```
"""
PARTS: list[tuple[str, type[BaseModel], str]] = [
    ("The file", Scenario, ""),
    ("`[stream]`, whatever the layout", spec._Stream, "stream."),
    ('`[stream]`, layout "tasks"', spec.TasksSpec, "stream."),
    ("`[[stream.tasks]]`", spec.TaskSpec, "stream.tasks.N."),
    ("`transforms`", spec.Transforms, "stream.tasks.N.transforms."),
    ("`[stream.sources.NAME]`", spec.NamedSource, "stream.sources.NAME."),
    ('`[stream]`, layout "split"', spec.SplitSpec, "stream."),
    ('`[stream]`, layout "rotations"', spec.RotationsSpec, "stream."),
    ('`[stream]`, layout "permutations"', spec.PermutationsSpec, "stream."),
    ('`[stream]`, layout "few-shot"', spec.FewShotSpec, "stream."),
    ('`[stream]`, layout "families"', spec.FamiliesSpec, "stream."),
    ('`[stream]`, layout "recurring"', spec.RecurringSpec, "stream."),
    ('`[stream]`, layout "regression"', spec.RegressionSpec, "stream."),
    ('`[stream]`, layout "ctrl"', spec.CtrlSpec, "stream."),
    ("`[agent]`", AgentSpec, "agent."),
    ("`[budget]`", BudgetSpec, "budget."),
]


def page() -> str:
    """Write the page."""
    parts = [HEAD]
    for title, model, prefix in PARTS:
        own = {name: each for name, each in model.model_fields.items() if _is_own(model, name)}
        lines = [f"## {title}\n", f"{_prose(model.__doc__ or '')}\n"]
        lines += ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
        for name, each in own.items():
            default = "the file's" if model is Scenario and name == "name" else _default(each)
            cells = f"`{prefix}{name}`", _type(each), default, _prose(each.description or "")
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _is_own(model: type[BaseModel], name: str) -> bool:
    return model is spec._Stream or name not in spec._Stream.model_fields or not issubclass(model, spec._Stream)


def _prose(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _type(field: FieldInfo) -> str:
    """Say the type in TOML's words, with its bounds."""
    text = _named(field.annotation)
    bounds = [
        f"{word} {getattr(each, name)}" for each in field.metadata for name, word in _BOUNDS if hasattr(each, name)
    ]
    return ", ".join([text, *bounds])


_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"), ("min_length", "length ≥"))
_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def _named(kind: Any) -> str:
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if kind in _NAMES:
        return _NAMES[kind]
    if origin is typing.Annotated:
        return _named(inside[0])
    if origin is typing.Literal:
        return " or ".join(f'"{each}"' for each in inside)
    if origin is tuple:
        each = [_named(one) for one in inside if one is not Ellipsis]
        return f"list of {each[0]}" if Ellipsis in inside else f"list [{', '.join(each)}]"
    if origin is dict:
        return "table"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "table"
    if isinstance(kind, type) and hasattr(kind, "__members__"):
        return " or ".join(f'"{each.value}"' for each in kind)
    members = [each for each in inside if each is not type(None)]
    if members:
        return " or ".join(dict.fromkeys(map(_named, members)))
    return "value"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "left out"
    if isinstance(value, BaseModel) or value == {}:
        return "empty"
    if hasattr(value, "value"):
        value = value.value
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; say whether the page is stale")
    if parser.parse_args().check:
        return int(not PAGE.exists() or PAGE.read_text() != page())
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())

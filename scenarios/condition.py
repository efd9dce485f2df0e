"""A condition on a comparison's numbers, as `--fail-if` takes it: parsed by hand, nothing is evaluated as code.

condition  = sum ("<" | "<=" | ">" | ">=" | "==" | "!=") sum
sum        = product {("+" | "-") product}
product    = factor {("*" | "/") factor}
factor     = NUMBER | "-" factor | "(" sum ")" | AGENT "." MEASURE
AGENT      = letters, digits, "_", ":" and "-" after a letter; or anything in quotes
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import UserError

ALIASES = {"bwt": "backward_transfer", "fwt": "forward_transfer", "bytes": "bytes_kept", "seconds": "cpu_seconds"}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_COMBINE: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<name>"[^"]*"|'[^']*'|[A-Za-z_](?:[\w:]|-(?=[A-Za-z]))*)\s*\.\s*(?P<measure>[A-Za-z_]\w*)
    | (?P<sign><=|>=|==|!=|[<>()+*/\-])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Condition:
    """A condition that was understood.

    Attributes:
        text: As it was written.
        compare: "<", "<=", ">", ">=", "==" or "!=".
        left: Tree of what stands left of it: a number, (agent, measure), or (operator, left, right).
        right: What stands right of it.
    """

    text: str
    compare: str
    left: Any
    right: Any

    def holds(self, means: Mapping[str, Mapping[str, Mapping[str, Any]]], scenario: str) -> bool:
        """Tell whether the condition holds on one scenario.

        Args:
            means: Agent to measure to its mean over seeds, as `comparison.compare` gives them.
            scenario: Its name, for an error's sake.

        Returns:
            Whether it does.

        Raises:
            UserError: If a number in it is n/a there: then nobody knows.
        """
        try:
            return _COMPARE[self.compare](self._value(self.left, means), self._value(self.right, means))
        except _Unknown as why:
            raise UserError(f'--fail-if "{self.text}": cannot be decided on {scenario}: {why}.') from None
        except ZeroDivisionError:
            raise UserError(f'--fail-if "{self.text}": divides by zero on {scenario}.') from None

    def _value(self, tree: Any, means: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> float:
        if isinstance(tree, float):
            return tree
        if len(tree) == 3:
            return _COMBINE[tree[0]](self._value(tree[1], means), self._value(tree[2], means))
        agent, measure = tree
        found = means.get(agent, {}).get(measure, {})
        if found.get("mean") is None:
            raise _Unknown(f"{agent}.{measure} is n/a ({found.get('note') or 'no run of it is finished'})")
        return float(found["mean"])


class _Unknown(Exception):
    """A number that there is not."""


def condition(text: str, agents: Sequence[str], measures: Sequence[str]) -> Condition:
    """Read a condition.

    Args:
        text: As the user wrote it: "auto.accuracy < fixed:finetune.accuracy - 0.01".
        agents: Names that it may speak of.
        measures: Keys of the measures.

    Returns:
        The condition.

    Raises:
        UserError: If it cannot be understood, or names an agent or a measure that there is not.
    """
    try:
        return _Reader(text, agents, measures).read()
    except RecursionError:
        raise UserError(f"--fail-if: {len(text)} signs with too many parentheses in each other.") from None


class _Reader:
    """Reads a condition from left to right."""

    def __init__(self, text: str, agents: Sequence[str], measures: Sequence[str]) -> None:
        self._text, self._agents, self._measures = text, agents, [*measures, *ALIASES]
        self._tokens: list[tuple[str, Any, int]] = []
        self._next = 0
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                self._fail(f"{text[position:].strip()!r} cannot be read (names with other signs go in quotes)")
            kind = "name" if match["name"] else "number" if match["number"] else "sign"
            value = (match["name"], match["measure"]) if match["name"] else match["number"] or match["sign"]
            self._tokens.append((kind, value, match.end()))
            position = match.end()

    def read(self) -> Condition:
        left = self._sum()
        kind, sign = self._take()
        if kind != "sign" or sign not in _COMPARE:
            self._fail(f"one of {', '.join(_COMPARE)} is needed{self._where()}")
        right = self._sum()
        if self._next < len(self._tokens):
            self._take()
            self._fail(f"nothing more is expected{self._where()}")
        return Condition(self._text, sign, left, right)

    def _sum(self) -> Any:
        tree = self._product()
        while self._peek() in ("+", "-"):
            tree = (self._take()[1], tree, self._product())
        return tree

    def _product(self) -> Any:
        tree = self._factor()
        while self._peek() in ("*", "/"):
            tree = (self._take()[1], tree, self._factor())
        return tree

    def _factor(self) -> Any:
        kind, value = self._take()
        if kind == "number":
            return float(value)
        if kind == "name":
            return self._reference(*value)
        if value == "-":
            return ("-", 0.0, self._factor())
        if value != "(":
            self._fail(f"a number or AGENT.MEASURE is needed{self._where()}")
        tree = self._sum()
        if self._take()[1] != ")":
            self._fail(f"a closing parenthesis is needed{self._where()}")
        return tree

    def _reference(self, name: str, measure: str) -> tuple[str, str]:
        agent = name[1:-1] if name[0] in "\"'" else name
        for what, found, known in (("agent", agent, self._agents), ("measure", measure, self._measures)):
            if found not in known:
                near = difflib.get_close_matches(found, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                self._fail(f"there is no {what} {found!r}{hint} Known: {', '.join(known)}")
        return agent, ALIASES.get(measure, measure)

    def _peek(self) -> Any:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else None

    def _take(self) -> tuple[str, Any]:
        if self._next >= len(self._tokens):
            self._next += 1
            return "end", None
        kind, value, _ = self._tokens[self._next]
        self._next += 1
        return kind, value

    def _where(self) -> str:
        """Say what the last token was."""
        if self._next > len(self._tokens):
            return " at the end"
        start = self._tokens[self._next - 2][2] if self._next > 1 else 0
        return f" at {self._text[start:].strip()!r}"

    def _fail(self, why: str) -> NoReturn:
        raise UserError(f'--fail-if "{self._text}": {why}.')

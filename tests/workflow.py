"""A workflow's own steps, run here as GitHub would: conditions evaluated, contexts filled in, `run:` given to bash.

Steps that use an action are not run; what they would have done is the caller's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
TOKEN = re.compile(r"\s*(&&|\|\||==|!=|!|\(|\)|'[^']*'|[\w.-]+)")


@dataclass(frozen=True)
class Outcome:
    """What came of a step: `skipped`, `success` or `failure`, and what it said."""

    step: str
    conclusion: str
    said: str


@dataclass
class Job:
    """A job of a workflow in a scenario.

    Attributes:
        steps: as in the file.
        contexts: what expressions know, by dotted name; what is not there is empty, as on GitHub.
    """

    steps: list[dict[str, Any]]
    contexts: dict[str, str]
    failed: bool = field(default=False, init=False)

    @classmethod
    def read(cls, path: Path, name: str, contexts: dict[str, str]) -> Job:
        return cls(yaml.safe_load(path.read_text())["jobs"][name]["steps"], contexts)

    def is_wanted(self, step: dict[str, Any]) -> bool:
        """Evaluate a step's condition; without a function of status in it, no step may have failed."""
        condition = str(step.get("if", "success()"))
        text = EXPRESSION.sub(r"\1", condition)
        asks = re.search(r"\b(cancelled|always|failure|success)\(\)", text) is not None
        return bool(self.evaluate(text)) and (asks or not self.failed)

    def fill(self, text: object) -> str:
        """Fill in the expressions of a value."""
        return EXPRESSION.sub(lambda match: str(self.evaluate(match[1]) or ""), str(text))

    def evaluate(self, text: str) -> object:
        """Evaluate an expression of contexts, literals, ==, !=, !, && and ||."""
        status = {"cancelled()": False, "always()": True, "failure()": self.failed, "success()": not self.failed}
        for name, value in status.items():
            text = text.replace(name, "true" if value else "false")
        tokens = TOKEN.findall(text)
        assert "".join(tokens) == re.sub(r"\s", "", text), f"not understood: {text}"
        value = self._either(tokens)
        assert not tokens, f"not understood: {text}"
        return value

    def _either(self, tokens: list[str]) -> object:
        value = self._both(tokens)
        while tokens[:1] == ["||"]:
            tokens.pop(0)
            other = self._both(tokens)
            value = value or other
        return value

    def _both(self, tokens: list[str]) -> object:
        value = self._equal(tokens)
        while tokens[:1] == ["&&"]:
            tokens.pop(0)
            other = self._equal(tokens)
            value = value and other
        return value

    def _equal(self, tokens: list[str]) -> object:
        value = self._one(tokens)
        if tokens[:1] in (["=="], ["!="]):
            return (tokens.pop(0) == "==") == (value == self._one(tokens))
        return value

    def _one(self, tokens: list[str]) -> object:
        token = tokens.pop(0)
        if token == "!":
            return not self._one(tokens)
        if token == "(":
            value = self._either(tokens)
            assert tokens.pop(0) == ")"
            return value
        if token in {"true", "false"}:
            return token == "true"
        return token[1:-1] if token.startswith("'") else self.contexts.get(token, "")

"""The README's commands and links are true; its table is looked at in tests/test_readme_table.py."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from shell import FILTER, QUESTION, ROOT, Shell

from lenet.config.compose import compose
from lenet.core.project import find_project

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [line for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) for line in block.splitlines()]
TABLE = re.findall(r"^\|.*\| `([^`]+)`", README, flags=re.MULTILINE)
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks/README.md",
]


def test_commands_of_the_first_block_are_made(shell: Shell) -> None:
    targets = [line.split()[1] for line in BLOCKS if line.startswith("make ")]
    assert targets == ["repro", "test"]
    listed = shell.run("make help").stdout
    for target in targets:
        assert f"make {target} " in listed
        assert "No rule" not in shell.run(f"make --dry-run {target}").stderr


def test_question_of_the_second_block_is_the_one_that_is_answered() -> None:
    assert [line for line in BLOCKS if line.startswith("python train.py")] == [QUESTION]  # by test_train.py
    assert [command for command in TABLE if command.startswith("lenet runs")] == [FILTER]


@pytest.mark.parametrize("command", [command for command in TABLE if command.startswith("python train.py ")])
def test_every_train_command_is_one_that_the_config_admits(command: str) -> None:
    words = [word for word in command.split()[2:] if word not in {"-m", "--help"}]
    choices = [[f"{word.partition('=')[0]}={value}" for value in word.partition("=")[2].split(",")] for word in words]
    for overrides in itertools.product(*choices):
        config = compose(find_project(ROOT), overrides)
        shown = str(config.tree())
        pairs = [override.split("=") for override in overrides]
        # A file of a group need not say its name in the config: trainer=debug.
        assert all(value in shown or (ROOT / f"conf/{key}/{value}.yaml").exists() for key, value in pairs)


def test_every_lenet_command_is_there(shell: Shell) -> None:
    listed = shell.run("lenet --help").stdout
    for command in set(re.findall(r"`lenet (\w+)", "".join(page.read_text(encoding="utf-8") for page in PAGES))):
        assert re.search(rf"^    {command}\b", listed, flags=re.MULTILINE), command


def test_every_source_that_contributing_names_is_there() -> None:
    named = re.findall(r"`([\w/]+/(?:\w+\.py)?)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    assert [name for name in named if not any((root / name).exists() for root in (ROOT, ROOT / "src/lenet"))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert links or page != ROOT / "README.md"
    for link in links:
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lenet import __version__
from lenet.cli import COMMANDS, main
from lenet.core.project import Project


def leave(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


@pytest.fixture
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The tiny project as the working folder."""
    monkeypatch.chdir(project.root)
    return project


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("--help") == 0
    words = capsys.readouterr().out.split()
    assert set(COMMANDS) <= set(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(name, "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: lenet {name}")


def test_help_imports_nothing_that_takes_long() -> None:
    code = "import sys; from lenet.cli import build_parser; build_parser();"
    code += "print(sorted({'torch', 'mlflow', 'hydra', 'numpy', 'matplotlib'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("--version") == 0
    assert capsys.readouterr().out == f"lenet-lab {__version__}\n"


@pytest.mark.parametrize("words", [[], ["trian"], ["train"], ["ui", "--port", "x"]])
def test_a_command_that_makes_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(*words) == 2
    assert capsys.readouterr().err.startswith("usage: lenet")


def test_outside_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert leave("runs") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path}: not inside a LeNet Lab project")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["runs", "abc"], 1, "error: abc: no run's fingerprint begins so; `lenet runs` lists them"),
        (["reproduce", "abc"], 1, "error: abc: no run's fingerprint begins so; `lenet runs` lists them"),
        (["prepare", "nist"], 2, "error: data=nist: must be one of fashion_mnist, mnist, tiny (did you mean 'mnist'?)"),
        (["train", "lenet5"], 2, "error: {root}/build/conf/lenet5.yaml: is missing; `lenet compose` writes it"),
        (["compare", "seed=1", "1"], 2, "error: seed=1 1: compare two filters or two networks, not one of each"),
        (
            ["evaluate"],
            1,
            "error: {root}/build/train/lenet5/runs.json: is missing; `dvc repro train@lenet5` makes it, `dvc pull`"
            " brings it",
        ),
    ],
)
def test_a_mistake_is_one_line(
    here: Project, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(*words) == code
    assert capsys.readouterr().err == message.format(root=here.root) + "\n"


def test_compose_writes_each_variant_and_what_each_stage_depends_on(
    here: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compose"])
    variants = ["lenet5", "lenet5_sigmoid", "lenet5_relu", "lenet5_batchnorm"]
    stages = ["fetch", "prepare", "search", "train", "refit", "evaluate", "export", "register", "report"]
    names = [*variants, *(f"stages/{stage}" for stage in stages)]
    assert capsys.readouterr().err == "".join(f"wrote build/conf/{name}.yaml\n" for name in names)
    folder = here.root / "build" / "conf"
    written = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml")]
    assert sorted(map(str, written)) == sorted(names)


def test_nothing_yet(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    main(["runs"])
    assert capsys.readouterr().out == "no runs\n"
    main(["clean"])
    assert capsys.readouterr().err == "nothing to clean\n"


def test_a_set_is_fetched_and_prepared(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    before = (here.prepared("tiny") / "card.json").read_bytes()
    (here.prepared("tiny") / "card.json").unlink()
    main(["data", "tiny"])
    assert capsys.readouterr().err.splitlines()[-1] == "tiny: prepared 500 train, 200 validation, 100 test"
    assert (here.prepared("tiny") / "card.json").read_bytes() == before

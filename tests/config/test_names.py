"""Names that become folders: one form everywhere, refused before anything is written or deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lenet.config.params import read_params
from lenet.config.schema import Config, ExperimentName, StoreUri, parse_config
from lenet.config.validation import Name, parse
from lenet.core.errors import ConfigError
from lenet.core.project import Project
from lenet.pipeline.stages import train_variant
from lenet.search.spec import read_spec
from lenet.tracking.store import tracking_uri

NO_NAMES = (
    "",
    ".",
    "..",
    "../x",
    "x/../y",
    "/x",
    "x/",
    "x//y",
    " x",
    "x ",
    ".x",
    "-x",
    "x\ny",
    "x\0",
    "caf\udce9",
    "a:b",
)
MakeConfig = Callable[..., Config]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name(name: str) -> None:
    for kind in (Name, ExperimentName):
        with pytest.raises(ConfigError, match=r"x=.*: must be a name of letters, digits"):
            parse(kind, name, "x")


def test_names() -> None:
    for name in ("lenet5", "LeNet-5_relu.2", "5", "_x", "größe", "a..b"):
        assert parse(Name, name, "x") == parse(ExperimentName, name, "x") == name
    for name in ("team/paper 1", "a b/c d/e"):
        assert parse(ExperimentName, name, "x") == name
        with pytest.raises(ConfigError):
            parse(Name, name, "x")


@pytest.mark.parametrize("knob", ["name", "data__name", "tracking__experiment"])
@pytest.mark.parametrize("name", ["", "..", "../../x", "/elsewhere/x"])
def test_a_run_has_names_only(make_tree: Callable[..., dict[str, Any]], knob: str, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{knob.replace('__', '.')}={name}: must be a name of letters"):
        parse_config(make_tree(**{knob: name}))


@pytest.mark.parametrize("uri", ["sqlite:///../../x.db", "sqlite:///a/../../x.db", "sqlite:///.."])
def test_a_store_outside_the_home_is_written_as_a_whole_path(
    make_tree: Callable[..., dict[str, Any]], project: Project, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    with pytest.raises(ConfigError, match=r"^tracking\.uri=sqlite.*: must be within the project's home"):
        parse_config(make_tree(tracking__uri=uri))
    with pytest.raises(ConfigError, match=r"^search\.storage=sqlite.*: must be within the project's home"):
        read_spec(project, ["data=tiny", f"search.storage={uri}"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match=r"^MLFLOW_TRACKING_URI=sqlite.*: must be within the project's home"):
        tracking_uri(project)


@pytest.mark.parametrize(
    "uri", ["sqlite:////srv/x.db", "sqlite:////srv/../x.db", "sqlite:///a/b.db", "sqlite:///x..db", "http://host/../x"]
)
def test_stores_that_are_where_they_were_said_to_be(uri: str) -> None:
    assert parse(StoreUri, uri, "x") == uri


@pytest.mark.parametrize("knob", ["data", "variants", "search.name", "refit.baseline", "register.model"])
def test_the_pipeline_has_names_only(project: Project, knob: str) -> None:
    path = project.root / "params.yaml"
    lines = path.read_text().splitlines()
    *groups, last = knob.split(".")
    start = lines.index(f"{groups[0]}:") if groups else 0
    indent = "  " if groups else ""
    number = next(n for n in range(start, len(lines)) if lines[n].startswith(f"{indent}{last}:"))
    if last == "variants":
        number += 1
    lines[number] = f"{lines[number].partition(':')[0]}: ../../x" if last != "variants" else "  - ../../x"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=rf"^params\.yaml: {knob}(\[0\])?=\.\./\.\./x: must be a name of letters"):
        read_params(project)


def test_a_search_has_a_name(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"^search\.name=\.\./\.\./x: must be a name of letters"):
        read_spec(project, ["data=tiny", "search.name=../../x"])


@pytest.mark.parametrize("variant", ["../../../evil", "lenet7", "", ".", "refitted"])
def test_a_variant_that_params_do_not_list_is_refused_before_anything_is_touched(
    project: Project, said: list[str], variant: str
) -> None:
    theirs = project.root / "build" / "train" / variant / "letter.txt"
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text("dear")
    conf = project.root / "build" / "conf" / f"{variant}.yaml"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text((project.conf / "experiment" / "lenet5.yaml").read_text())
    before = files(project.root)
    with pytest.raises(ConfigError, match=r"params\.yaml lists no such variant; it lists lenet5, lenet5_sigmoid"):
        train_variant(project, read_params(project), variant)
    assert files(project.root) == before
    assert theirs.read_text() == "dear"


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

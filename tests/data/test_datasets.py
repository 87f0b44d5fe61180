from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from rude_server import Server
from tiny_set import Tiny

from lenet.config.data_sources import FolderConfig, MirrorConfig, PipConfig
from lenet.core.errors import ConfigError, DataError
from lenet.core.project import Project
from lenet.data.arrays import load_training
from lenet.data.datasets import ensure_prepared, load_data_config
from lenet.data.download.fetch import origin_files

CONF = Path(__file__).parents[2] / "conf"
THIRD = "name: third\nchannels: 1\nheight: 28\nwidth: 28\nclasses: [a, b]\ntrain_size: null\nvalidation_size: 1\n"


def test_a_third_set_needs_one_file_and_no_code(project: Project, tiny: Tiny, tmp_path: Path, said: list[str]) -> None:
    given = tiny.write(tmp_path / "given", packed=True)
    tiny.write_config(project.conf, "third", {"name": "folder", "path": str(given)})
    folder = ensure_prepared(project, "third")
    assert folder == project.prepared("third")
    assert load_training(folder).images.shape == (120, 1, 28, 28)
    assert said == [f"{given}: brought {', '.join(tiny.files)}", f"third: prepared in {folder}"]


def test_what_is_prepared_is_returned_at_once(project: Project, tiny: Tiny, tmp_path: Path, said: list[str]) -> None:
    tiny.write_config(project.conf, "third", {"name": "folder", "path": str(tiny.write(tmp_path / "given"))})
    folder = ensure_prepared(project, "third")
    (project.conf / "data" / "third.yaml").unlink()
    said.clear()
    assert ensure_prepared(project, "third") == folder
    assert said == []


def _ensure(root: Path) -> None:
    ensure_prepared(Project(root, root), "third")


def test_two_processes_prepare_once(server: Server, project: Project, tiny: Tiny) -> None:
    server.answers = {f"/{name}": body for name, body in tiny.files.items()}
    tiny.write_config(project.conf, "third", {"name": "mirror", "url": f"{server.url}{{file}}"})
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_ensure, args=(project.root,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(server.requests) == len(tiny.files)
    load_training(project.prepared("third"))


def test_files_that_cannot_be_had(project: Project, tiny: Tiny, said: list[str]) -> None:
    tiny.write_config(project.conf, "third")
    with pytest.raises(DataError, match="third: no source gives"):
        ensure_prepared(project, "third")
    assert not project.prepared("third").exists()


def test_an_unknown_name_lists_the_known_ones(project: Project, tiny: Tiny) -> None:
    tiny.write_config(project.conf, "first")
    tiny.write_config(project.conf, "second")
    with pytest.raises(ConfigError, match=r"^data=secnd: must be one of first, second \(did you mean 'second'\?\)$"):
        load_data_config(project.conf, "secnd")
    with pytest.raises(ConfigError, match="must be one of first, second"):
        load_data_config(project.conf, "../data/first")
    with pytest.raises(ConfigError, match="must be one of none"):
        ensure_prepared(Project(project.root / "empty", project.home), "first")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "not readable as YAML"),
        ("", "must be a group of keys"),
        ("name: third", "data.channels is missing"),
        (THIRD.replace("[a, b]", "10"), "data.classes=10: must be a list"),
        (THIRD.replace("[a, b]", "[a]"), "data.classes: names 1 classes"),
        (THIRD.replace("[a, b]", "[a, b, a]"), "data.classes: names 'a' twice"),
        (THIRD.replace("third", "other"), "data.name=other: must be third"),
    ],
)
def test_a_broken_file_is_one_line(project: Project, text: str, complaint: str) -> None:
    path = project.conf / "data" / "third.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_data_config(project.conf, "third")
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_set_without_an_origin_cannot_be_fetched(project: Project) -> None:
    path = project.conf / "data" / "third.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(THIRD)
    assert load_data_config(project.conf, "third").origin is None
    with pytest.raises(ConfigError, match=r"data\.origin is missing"):
        ensure_prepared(project, "third")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_projects_own_sets(name: str) -> None:
    data = load_data_config(CONF, name)
    assert (data.name, len(data.classes), data.image_shape) == (name, 10, (1, 28, 28))
    assert data.origin is not None
    assert len({file.sha256 for file in origin_files(data.origin).values()}) == 4
    first_line = (CONF / "data" / f"{name}.yaml").read_text().splitlines()[0]
    assert first_line == f"# python train.py data={name}"


def test_every_kind_of_source_is_used() -> None:
    origins = [load_data_config(CONF, name).origin for name in ("mnist", "fashion_mnist")]
    kinds = {type(source) for origin in origins if origin for source in origin.sources}
    assert kinds == {MirrorConfig, PipConfig, FolderConfig}

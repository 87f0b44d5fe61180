from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from lenet.config.schema import Config
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir
from lenet.tracking.background_sync import BackgroundSync
from lenet.tracking.run_ref import recorded_run_ref
from lenet.tracking.run_sync import is_up_to_date
from lenet.tracking.store import open_store, tracking_uri

Train = Callable[..., RunDir]
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def train(project: Project, make_config: Callable[..., Config]) -> Train:
    def train(on_change: Callable[[RunDir], None] = lambda folder: None, seed: int = 1) -> RunDir:
        digest = training_digest(project.prepared("tiny"))
        return get_or_train(project, make_config(seed=seed), digest, RunMetadata("tiny"), on_change, print).folder

    return train


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_everything_is_there_once_it_is_closed(project: Project, train: Train, said: list[str]) -> None:
    uri = tracking_uri(project)
    follower = BackgroundSync(project, uri, "lenet5", said.append)
    folder = train(follower.changed)
    assert follower.close() is True
    assert said == []
    assert is_up_to_date(folder, uri)
    place, _ = recorded_run_ref(folder, uri)
    assert place is not None
    client = open_store(project, uri)
    assert client.get_run(place.run_id).info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(place.run_id, "val/error")] == [1, 2]
    assert len(client.search_runs([place.experiment_id])) == 1


def test_a_store_that_is_away_is_told_of_once_and_training_goes_on(
    project: Project, train: Train, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    follower = BackgroundSync(project, NOBODY, "lenet5", said.append)
    folders = [train(follower.changed, seed=seed) for seed in (1, 2)]
    assert [folder.state() for folder in folders] == ["FINISHED", "FINISHED"]
    assert follower.close() is False
    (line,) = said
    assert line.startswith(f"MLflow at {NOBODY}: ")
    assert line.endswith("; the runs are safe, `lenet sync` brings it up to date")
    assert "\n" not in line
    assert not any(is_up_to_date(folder, NOBODY) for folder in folders)


def followers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mlflow projection"]


def test_neither_change_nor_close_waits_for_an_answer(
    project: Project, train: Train, said: list[str], silent_server: str
) -> None:
    before = set(followers())
    folder = train()
    follower = BackgroundSync(project, silent_server, "lenet5", said.append)
    for _ in range(100):
        follower.changed(folder)
    (thread,) = set(followers()) - before
    assert follower.close(seconds=0.1) is False
    assert thread.is_alive()  # and waits still for the answer that never comes
    assert said == [f"MLflow at {silent_server}: does not answer; the runs are safe, `lenet sync` brings it up to date"]


def test_nothing_to_send_starts_nothing(project: Project, said: list[str]) -> None:
    before = threading.active_count()
    follower = BackgroundSync(project, NOBODY, "lenet5", said.append)
    assert follower.close() is True
    assert threading.active_count() == before
    assert said == []


def test_a_password_is_not_shown(
    project: Project, train: Train, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    follower = BackgroundSync(project, "http://me:secret@127.0.0.1:9", "lenet5", said.append)
    follower.changed(train())
    follower.close()
    assert len(said) == 1
    assert "secret" not in said[0]

"""MLflow as a projection of the run folders: whatever a folder holds and the store lacks is sent, nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.durable import canonical_json, sha256_bytes, sha256_file
from lenet.locks import locked
from lenet.project import Project
from lenet.runs import FAILED, FINISHED, KILLED, PRUNED, RUNNING, RunFolder
from lenet.schema import flatten
from lenet.tracking.entities import MILLISECONDS, batches, data_set, epoch_metrics, evaluation, run_tags, tested_metrics
from lenet.tracking.place import Place, record_place, recorded_place
from lenet.tracking.searches import ensure_parent, send_search, study_of
from lenet.tracking.store import be_patient, database_path, experiment_id, holds_run, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

FINGERPRINT_TAG = "lenet.fingerprint"
MODEL_CARD = "model_card.md"
"""In the folder of a run that was registered."""

ARTIFACTS = ("config.yaml", "weights.safetensors", "plots", MODEL_CARD)
ENDED = (FINISHED, FAILED, KILLED, PRUNED)
SHOWN_AS = {PRUNED: KILLED}
"""MLflow's own name of a state that it does not know; the tag lenet.state has ours."""

PARENT_TAG = "mlflow.parentRunId"


def token(folder: RunFolder) -> str:
    """Return a digest of all that is projected of a folder, to see whether a store is up to date."""
    plots = sorted((folder.path / "plots").glob("*.png"))
    seen = [folder.identity(), folder.status(), folder.state(), folder.history(), evaluation(folder)]
    card = folder.path / MODEL_CARD
    cards = [sha256_file(card)] if card.is_file() else []
    return sha256_bytes(canonical_json([seen, [[path.name, path.stat().st_size] for path in plots], *cards]).encode())


def is_up_to_date(folder: RunFolder, uri: str) -> bool:
    """Say, without importing mlflow where the store is SQLite, whether the store shows all of the folder."""
    place, known = recorded_place(folder, uri)
    return place is not None and known == token(folder) and holds_run(uri, place.run_id) is not False


class Projection:
    """Sends run folders to one store. Not for several threads at once.

    Args:
        project: where the folders are.
        uri: the store.
        experiment: name of the MLflow experiment.
    """

    def __init__(self, project: Project, uri: str, experiment: str) -> None:
        self._project = project
        self._uri = uri
        self._experiment = experiment
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._places: dict[str, Place] = {}
        self._epochs_sent: dict[str, set[int]] = {}
        self._parents: dict[str, str] = {}

    def warm(self) -> None:
        """Import MLflow and open an SQLite store: seconds of Python that a training beside them would pay for.

        Two threads of Python share one interpreter, so a training's first epoch takes longer by as much as it overlaps.
        A server is not waited for here.

        Raises:
            MlflowException, LenetError: the store cannot be opened.
        """
        be_patient()
        import mlflow  # noqa: F401

        if database_path(self._uri) is not None:
            self._connect()

    def send(self, folder: RunFolder) -> Place:
        """Bring the store up to date with a folder; what it holds already is not sent again.

        Raises:
            MlflowException, OSError: the store is away or refuses; sending again later goes on where this ended.
        """
        client = self._connect()
        with locked(folder.path / "projection.lock"):
            try:
                return self._send(client, folder)
            except BaseException:  # what arrived is not known: ask the store next time
                self._epochs_sent.pop(folder.fingerprint, None)
                self._places.pop(folder.fingerprint, None)
                raise

    def send_search(self, folder: Path) -> str:
        """Bring the store up to date with a search's folder, and return the id of its run; raises as `send`."""
        return send_search(self._connect(), self._experiment_id, self._uri, folder)

    def _connect(self) -> MlflowClient:
        if self._client is None:
            client = open_store(self._project, self._uri)
            self._experiment_id = experiment_id(client, self._project, self._uri, self._experiment)
            self._client = client
        return self._client

    def _send(self, client: MlflowClient, folder: RunFolder) -> Place:
        now = token(folder)
        place = self._places.get(folder.fingerprint) or self._find(client, folder) or self._create(client, folder)
        self._places[folder.fingerprint] = place
        status, state = folder.status(), folder.state()
        self._send_metrics(client, folder, place.run_id)
        if state in ENDED:
            for name in ARTIFACTS:
                path = folder.path / name
                if path.is_dir():
                    client.log_artifacts(place.run_id, str(path), name)
                elif path.is_file():
                    client.log_artifact(place.run_id, str(path))
        self._send_tags(client, folder, place.run_id)
        self._set_state(client, place.run_id, state, status)
        record_place(folder, place, now)
        return place

    def _find(self, client: MlflowClient, folder: RunFolder) -> Place | None:
        found = client.search_runs(
            [self._experiment_id], f"tags.`{FINGERPRINT_TAG}` = '{folder.fingerprint}'", order_by=["start_time ASC"]
        )
        for double in found[1:]:  # a create that was answered too late and asked again
            client.delete_run(double.info.run_id)
        return Place(self._uri, self._experiment_id, found[0].info.run_id) if found else None

    def _create(self, client: MlflowClient, folder: RunFolder) -> Place:
        from mlflow.entities import Param

        identity, attempts = folder.identity(), folder.status()["attempts"]
        started = attempts[0]["started"] if attempts else (folder.path / "config.yaml").stat().st_mtime
        run = client.create_run(
            self._experiment_id,
            start_time=int(started * MILLISECONDS),
            tags={FINGERPRINT_TAG: folder.fingerprint},
            run_name=identity["name"],
        )
        place = self._find(client, folder) or Place(self._uri, self._experiment_id, run.info.run_id)
        parameters = [Param(name, str(value)) for name, value in flatten(identity["config"])]
        client.log_batch(place.run_id, params=parameters)
        client.log_inputs(place.run_id, datasets=[data_set(self._project, identity)])
        self._epochs_sent[folder.fingerprint] = set()
        return place

    def _send_metrics(self, client: MlflowClient, folder: RunFolder, run_id: str) -> None:
        sent = self._epochs_sent.get(folder.fingerprint)
        if sent is None:
            sent = {point.step for point in client.get_metric_history(run_id, "train/loss")}
            self._epochs_sent[folder.fingerprint] = sent
        metrics = epoch_metrics(folder, sent)
        tested = evaluation(folder)
        if tested:
            known = client.get_run(run_id).data.metrics
            metrics += [metric for metric in tested_metrics(tested, folder) if known.get(metric.key) != metric.value]
        for batch in batches(metrics):
            client.log_batch(run_id, metrics=batch)
        sent.update(metric.step for metric in metrics)

    def _send_tags(self, client: MlflowClient, folder: RunFolder, run_id: str) -> None:
        from mlflow.entities import RunTag

        tags = run_tags(folder)
        study = study_of(folder.identity()["sweeps"])
        if study is not None:
            if study not in self._parents:
                self._parents[study] = ensure_parent(client, self._experiment_id, self._project.home, study)
            tags[PARENT_TAG] = self._parents[study]
        elif PARENT_TAG in client.get_run(run_id).data.tags:  # asked for by others since: a run of its own now
            client.delete_tag(run_id, PARENT_TAG)
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def _set_state(self, client: MlflowClient, run_id: str, state: str | None, status: dict[str, Any]) -> None:
        if state not in ENDED:
            client.update_run(run_id, status=RUNNING)
            return
        ended = [attempt["ended"] for attempt in status["attempts"] if attempt["ended"] is not None]
        end_time = int(ended[-1] * MILLISECONDS) if ended else None  # None: killed, nobody saw when
        client.set_terminated(run_id, status=SHOWN_AS.get(state, state), end_time=end_time)

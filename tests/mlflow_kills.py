"""Kill a command that shows its work in MLflow, each time at another point, and see what MLflow holds after the next.

Usage: python mlflow_kills.py run|search <number of points>|all <project root>

`run` is a training of one epoch with its pictures, `search` what the command of a search does once its trials are done.
A child of its own is killed at each point: before, in the middle of and after every write, fsync, rename and request,
and right before the store commits. After it `lenet sync` is run, as the next command a user types, and what MLflow
holds is compared with the folders by SQL; now and then the killed command is asked again too. Prints a JSON list: for
each kill where it was and what was wrong after. Children are forked, so that the imports are paid for once.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import Any

from kills import COUNT, Bomb, fork, wait
from lenet.core.project import Project
from lenet.runs.run_dir import RunDir

REQUESTS = ("create_run", "log_batch", "log_inputs", "log_artifact", "set_terminated", "update_run", "delete_tag")
WORDS = ("data=tiny", "trainer.epochs=1", "trainer.threads=1", "trainer.batch_size=50", "trainer.progress=false")
RUN = ("experiment=lenet5", *WORDS)
SEARCH = ("search=tiny", "data=tiny")
ASKED_AGAIN = 8
"""Of so many kills one is followed by the same command too."""

Act = Callable[[Project], None]


class MlflowBomb(Bomb):
    """Passes a point at whatever a command writes or asks of MLflow."""

    def plant(self) -> None:
        from mlflow import MlflowClient
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        for name in REQUESTS:
            self.wrap(MlflowClient, name)
        for name in ("replace", "fsync"):
            self.wrap(os, name)
        write_bytes = Path.write_bytes

        def in_two(path: Path, content: bytes) -> int:
            self.point("before write")
            write_bytes(path, content[: len(content) // 2])
            self.point("in the middle of a write")
            return write_bytes(path, content)

        Path.write_bytes = in_two  # type: ignore[method-assign,assignment]
        event.listen(Engine, "commit", lambda connection: self.point("before commit"))


def ignore(_: object) -> None:
    """Take what nobody wants to hear."""


def train(project: Project) -> None:
    """Train a run and show it as `train.py` does, but in one thread, so that its points come in one order."""
    from lenet.config.compose import compose
    from lenet.data.arrays import training_digest
    from lenet.evaluation.plots.run import draw_run
    from lenet.runs.get_or_train import RunMetadata, get_or_train
    from lenet.tracking.run_sync import RunSync, is_up_to_date
    from lenet.tracking.store import tracking_uri

    uri, config = tracking_uri(project), compose(project, (*RUN, "tracking.experiment=tiny"))
    projection = RunSync(project, uri, "tiny")
    digest = training_digest(project.prepared("tiny"))
    folder = get_or_train(project, config, digest, RunMetadata("lenet5 seed=1", "kills", RUN), projection.send).run_dir
    draw_run(folder, project)
    if not is_up_to_date(folder, uri):
        projection.send(folder)


def search(project: Project) -> None:
    from lenet.search.runner import run_search
    from lenet.search.spec import read_spec

    run_search(read_spec(project, SEARCH), SEARCH)


def sync(project: Project) -> None:
    from lenet.tracking.sync import synchronize

    synchronize(project)


def do_trials(project: Project) -> None:
    """Run the trials of the search in this process, as its worker would."""
    from contextlib import ExitStack

    from lenet.data.arrays import training_digest
    from lenet.search.objective import Objective
    from lenet.search.spec import read_spec
    from lenet.search.storage import open_storage, study_url
    from lenet.search.study import SearchStudy
    from lenet.search.workers import run_trials

    spec = read_spec(project, SEARCH)
    digest = training_digest(project.prepared("tiny"))
    storage = open_storage(project, study_url(project, None))
    name = spec.study_name(digest)
    with ExitStack() as stack:
        worker = SearchStudy(spec, storage, name).register_worker(stack)
        study = SearchStudy(spec, storage, name)
        run_trials(study, Objective(study, digest), worker)
    search(project)  # draws what takes seconds


MADE = ("runs", "searches", "mlartifacts")


def put_back(root: Path, kept: Path) -> None:
    for path in root.glob("mlflow.db*"):
        path.unlink()
    for name in MADE:
        shutil.rmtree(root / name, ignore_errors=True)
        if (kept / name).is_dir():
            shutil.copytree(kept / name, root / name)
    shutil.copyfile(kept / "mlflow.db", root / "mlflow.db")


def keep(root: Path, kept: Path) -> None:
    """Keep what the command finds: run folders and searches, and nothing that MLflow was told."""
    for name in ("runs", "searches"):
        if (root / name).is_dir():
            shutil.copytree(root / name, kept / name, ignore=shutil.ignore_patterns("mlflow.json"))


def query(root: Path, text: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        return connection.execute(text, values).fetchall()


def left_behind(root: Path) -> list[str]:
    names = [path for name in (*MADE, "results") for path in (root / name).rglob(".*") if path.is_file()]
    return [str(path.relative_to(root)) for path in names if "partial" in path.name or "uploading" in path.name]


def wrong(project: Project) -> list[str]:
    """What MLflow holds otherwise than the folders, found without any code that sends or compares."""
    root = project.root
    found = [f"left: {name}" for name in left_behind(root)]
    folders = [RunDir(path) for path in project.runs.glob("*") if (path / "run.json").is_file()]
    shown = query(root, "select value, count(*) from tags where key = 'lenet.fingerprint' group by value")
    if dict(shown) != {folder.fingerprint: 1 for folder in folders}:
        found.append(f"runs: {shown}")
        return found
    studies = [path.parent for path in (root / "searches").glob("*/search.json")]
    ids = dict(query(root, "select value, run_uuid from tags where key = 'lenet.search'"))
    if len(query(root, "select 1 from tags where key = 'lenet.search'")) != len(studies):
        found.append(f"searches: {ids}")
        return found
    for folder in folders:
        found += wrong_run(project, folder, ids)
    for study in studies:
        found += wrong_search(root, study, ids[study.name])
    return found


def wrong_run(project: Project, folder: RunDir, studies: dict[str, str]) -> list[str]:
    from lenet.config.validation import flatten

    root, identity, state = project.root, folder.identity(), folder.state() or "KILLED"
    ((run,),) = query(
        root, "select run_uuid from tags where key = ? and value = ?", "lenet.fingerprint", folder.fingerprint
    )
    tags = dict(query(root, "select key, value from tags where run_uuid = ?", run))
    asked = identity["sweeps"][0].removeprefix("search:") if identity["sweeps"] else ""
    expected = {"lenet.state": state, "lenet.seed": "1", "mlflow.parentRunId": studies.get(asked)}
    expected |= {"lenet.sweep": "; ".join(identity["sweeps"]), "lenet.data_digest": identity["data_digest"]}
    found = [f"tag {name}: {tags.get(name)}" for name, value in expected.items() if tags.get(name) != value]
    params = dict(query(root, "select key, value from params where run_uuid = ?", run))
    if params != {name: str(value) for name, value in flatten(identity["config"])}:
        found.append(f"{len(params)} parameters")
    points = query(root, "select key, step, value from metrics where run_uuid = ? order by 1, 2", run)
    rows = [(key, row["epoch"], row[key]) for row in folder.history() for key in row if key != "epoch"]
    if points != sorted(rows):
        found.append(f"{len(points)} points for {len(rows)}")
    latest = query(root, "select key, step, value from latest_metrics where run_uuid = ? order by 1", run)
    if latest != sorted(row for row in rows if row[1] == len(folder.history())):
        found.append("latest values")
    datasets = query(
        root,
        "select d.name, d.digest, t.value from inputs i join datasets d on d.dataset_uuid = i.source_id"
        " join input_tags t on t.input_uuid = i.input_uuid where i.destination_id = ?",
        run,
    )
    if datasets != [("tiny", identity["data_digest"][:36], "training")]:
        found.append(f"data sets {datasets}")
    ((status,),) = query(root, "select status from runs where run_uuid = ?", run)
    if status != state:
        found.append(f"status {status} for {state}")
    names = ["config.yaml", "weights.safetensors", *(f"plots/{path.name}" for path in folder.path.glob("plots/[!.]*"))]
    return found + wrong_artifacts(root, run, {name: folder.path / name for name in names})


def wrong_search(root: Path, study: Path, run: str) -> list[str]:
    from lenet.core.atomic_io import read_json

    summary = read_json(study / "summary.json")
    best = query(root, "select step, value from metrics where run_uuid = ? and key = 'search/best' order by 1", run)
    found = [] if best == [(step, value) for step, value, _ in summary["history"]] else [f"best {best}"]
    counts = dict(query(root, "select key, value from metrics where run_uuid = ? and key like 'search/trials%'", run))
    if counts != {f"search/trials_{name}": count for name, count in summary["trials"].items()}:
        found.append(f"counts {counts}")
    ((params,),) = query(root, "select count(*) from params where run_uuid = ? and key like 'search.%'", run)
    if params < len(("objectives", "sampler", "pruner", "epochs", "space")):
        found.append(f"{params} parameters of the search")
    tags = dict(query(root, "select key, value from tags where run_uuid = ?", run))
    if tags.get("lenet.best.run") != summary["best"]["run"]:
        found.append("tags of the search")
    if query(root, "select status from runs where run_uuid = ?", run) != [("FINISHED",)]:
        found.append("status of the search")
    names = ["best.yaml", "trials.csv", "summary.json", "search.html"]
    names += [f"plots/{path.name}" for path in study.glob("plots/[!.]*.png")]
    return found + wrong_artifacts(root, run, {name: study / name for name in names}, {"trials.json"})


def wrong_artifacts(root: Path, run: str, files: dict[str, Path], more: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    folder = root / "mlartifacts" / "tiny" / run / "artifacts"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    expected = {name: path for name, path in files.items() if path.is_file()}
    if there != set(expected) | more:
        return [f"artifacts {sorted(there ^ (set(expected) | more))}"]
    return [f"artifact {name}" for name, path in expected.items() if (folder / name).read_bytes() != path.read_bytes()]


def killed_at(point: int, act: Act, project: Project) -> tuple[str, int]:
    """Have a child do something and kill it at its nth point; return which it was, and how many it passed."""
    read, write = os.pipe()

    def action() -> None:
        MlflowBomb(point, write).plant()
        act(project)

    pid = fork(quiet(action))
    os.close(write)
    with os.fdopen(read, "rb") as told:
        said = told.read().decode()
    code = wait(pid)
    assert code in {0, -9}, code
    return (said, 0) if code else ("", len(said))


def quiet(action: Callable[[], None]) -> Callable[[], None]:
    def act() -> None:
        if os.environ.get("LOUD"):
            action()
            return
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            action()

    return act


def looked_at(act: Act, project: Project) -> list[str]:
    """Have a child do something to its end, and return what MLflow holds otherwise than the folders."""
    code = wait(fork(quiet(lambda: act(project))))
    return wrong(project) if code == 0 else [f"exit code {code}"]


def warm(kind: str) -> None:
    """Import what the children need."""
    import hydra  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.pyplot  # noqa: F401
    import mlflow.store.artifact.local_artifact_repo
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import torch

    import lenet.config.compose
    import lenet.evaluation.plots.run
    import lenet.tracking.run_writer
    import lenet.training.fit

    if kind == "search":
        import plotly.graph_objects  # noqa: F401

        import lenet.search.page
        import lenet.search.plots.draw_search
        import lenet.search.runner
        import lenet.search.workers  # noqa: F401

    torch.set_num_threads(1)


def main() -> None:
    kind, asked, root = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    warm(kind)
    os.chdir(root)
    project, kept = Project(root, root), root.parent / "kept"
    kept.mkdir()
    shutil.copyfile(root / "mlflow.db", kept / "mlflow.db")
    act: Act = train
    if kind == "search":
        assert wait(fork(quiet(lambda: do_trials(project)))) == 0
        act = search
    keep(root, kept)
    put_back(root, kept)
    _, passed = killed_at(COUNT, act, project)
    assert not wrong(project), wrong(project)
    number = passed if asked == "all" else int(asked)
    results = []
    for turn in range(number):
        put_back(root, kept)
        where, _ = killed_at(1 + round(turn * (passed - 1) / max(1, number - 1)), act, project)
        after = looked_at(sync, project)
        again = looked_at(act, project) if turn % ASKED_AGAIN == 0 else []
        results.append({"where": where, "after": after, "again": again})
        print(f"{turn + 1} of {number}: {results[-1]}", file=sys.stderr, flush=True)
    print(json.dumps({"points": passed, "kills": results}))


if __name__ == "__main__":
    main()

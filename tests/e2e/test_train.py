"""`python train.py`: one run, a sweep, asked again; mistakes are one line and leave nothing."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from shell import FILTER, QUESTION, SMALL, Shell

ASK = " ".join(SMALL)


def rows(home: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        return connection.execute(query).fetchall()


def test_sweep_trains_two_shows_a_table_and_is_then_answered_at_once(shell: Shell) -> None:
    first = shell.run(f"{QUESTION} {ASK}")
    table = first.stdout.splitlines()
    assert table[0].split() == ["run", "model.activation", "val/error", "%", "epochs", "seconds", "state"]
    assert [line.split()[1] for line in table[1:3]] == ["tanh", "relu"]
    assert all(line.split()[3] == "2" and line.rstrip().endswith("trained") for line in table[1:3])
    linked = re.search(r"run_id%20IN%20%28%27(\w{32})%27%2C%27(\w{32})%27%29&", first.stdout)
    assert linked is not None
    shown = rows(shell.home, "select run_uuid, status, name from runs")
    assert {run for run, _, _ in shown} == set(linked.groups())
    assert {status for _, status, _ in shown} == {"FINISHED"}
    assert any("activation=relu" in str(name) for _, _, name in shown)

    weights = {path: path.stat().st_mtime_ns for path in shell.home.glob("runs/*/weights.safetensors")}
    again = shell.run(f"{QUESTION} {ASK}")
    assert again.stdout.count("already trained") == 2
    assert linked[0] in again.stdout
    assert {path: path.stat().st_mtime_ns for path in weights} == weights

    self_check_mlflow(shell.home)
    listed = shell.run(FILTER).stdout
    assert "activation=relu" in listed
    assert "activation=tanh" not in listed
    start = listed.splitlines()[1].split()[0]
    assert json.loads(shell.run(f"lenet runs {start}").stdout)["config"]["model"]["activation"] == "relu"
    assert "the same weights, bit for bit" in shell.run(f"lenet reproduce {start}").stdout


def self_check_mlflow(home: Path) -> None:
    """What MLflow shows of a run: parameters, metrics by epoch, tags, data set, artifacts."""
    parameters = dict(rows(home, "select key, value from params"))
    assert parameters["trainer.epochs"] == "2"
    assert parameters["optimizer.schedule.name"] == "one_cycle"
    points = rows(home, "select key, step, count(*) from metrics group by run_uuid, key, step")
    assert {(key, step, count) for key, step, count in points if key == "val/error"} == {
        ("val/error", 1, 1),
        ("val/error", 2, 1),
    }
    assert {"train/loss", "train/error", "val/loss", "val/error", "learning_rate"} <= {str(key) for key, _, _ in points}
    tags = dict(rows(home, "select key, value from tags"))
    assert tags["lenet.sweep"].startswith("model.activation=tanh,relu")
    assert re.fullmatch(r"[0-9a-f]{64}", tags["lenet.fingerprint"])
    assert re.fullmatch(r"[0-9a-f]{40}", tags["lenet.git_commit"])
    assert tags["lenet.git_dirty"] in {"true", "false"}
    assert {"lenet.variant", "lenet.seed", "lenet.device", "lenet.version.torch"} <= set(tags)
    ((name, digest),) = set(rows(home, "select name, digest from datasets"))
    assert name == "mnist"
    assert tags["lenet.data_digest"].startswith(str(digest))
    artifacts = {path.name for path in (home / "mlartifacts").rglob("*") if path.is_file()}
    pictures = {"learning_curves.png", "confusion_matrix.png", "misclassified.png", "first_layer_filters.png"}
    assert pictures | {"config.yaml", "weights.safetensors"} <= artifacts


def test_the_network_of_1998_learns_one_image_at_a_time(shell: Shell) -> None:
    words = "experiment=lenet5_1998 trainer.epochs=1 data.train_size=2000"
    assert "lenet5_1998" in shell.run(f"python train.py {words}").stdout
    (run,) = (shell.home / "runs").glob("[0-9a-f]*")
    (row,) = json.loads((run / "history.json").read_text())["epochs"]
    assert row["val/error"] < 20
    assert json.loads((run / "status.json").read_text())["attempts"][0]["kernel"].startswith("fused")
    done = shell.run("python train.py experiment=lenet5_1998 trainer.kernel=torch", check=False)
    assert done.returncode == 2
    assert "optimizer=sdlm: takes its steps in the kernel" in done.stderr


MISTAKES = {
    "model.activation=rellu": "model.activation=rellu: must be one of tanh",
    "modle.activation=relu": "did you mean 'model.activation'",
    "+model.foo=1": "model.foo: no such key",
    "optimizer.learning_rate=abc": "optimizer.learning_rate=abc: must be a number",
    "optimizer.learning_rate=-1": "must be more than 0",
    "experiment=lenet6": "experiment=lenet6: must be one of lenet5",
    "trainer.batch_size=0": "trainer.batch_size=0: must be at least 1",
    "data=nope": "data=nope: must be one of fashion_mnist, mnist",
    "data.train_size=60000": "data.train_size=60000: must be 1 to 55000",
    "-m model.activation=tanh,rellu": "did you mean 'relu'",
    "-m data.train_size=100,99999": "data.train_size=99999: must be",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_one_line_and_nothing_is_written(shell: Shell, mistake: str) -> None:
    done = shell.run(f"python train.py {mistake}", check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert MISTAKES[mistake] in done.stderr
    assert not shell.home.exists()


def test_misspelt_key_in_a_variants_file_is_one_line(shell: Shell) -> None:
    path = shell.root / "conf/experiment/misspelt.yaml"
    path.write_text("# @package _global_\nname: misspelt\noptimizer:\n  learning_rat: 0.1\n")
    try:
        done = shell.run("python train.py experiment=misspelt", check=False)
    finally:
        path.unlink()
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "learning_rat" in done.stderr
    assert "learning_rate" in done.stderr
    assert not shell.home.exists()


def test_gpu_where_there_is_none_fails_in_a_line(shell: Shell) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = shell.run("python train.py trainer=gpu", check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "no CUDA device" in done.stderr
    assert not shell.home.exists()


@pytest.mark.long
def test_run_that_diverges_fails_leaves_no_weights_and_is_not_trained_twice(shell: Shell) -> None:
    diverging = "model.activation=relu optimizer=sgd optimizer.learning_rate=100 optimizer/schedule=constant"
    ask = f"python train.py {diverging} {ASK}"
    done = shell.run(ask, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the loss is not finite in epoch")
    (folder,) = shell.run_folders()
    assert not list(folder.rglob("*.safetensors"))
    assert not list(folder.rglob("*.ckpt"))
    assert rows(shell.home, "select status from runs") == [("FAILED",)]
    again = shell.run(ask, check=False)
    assert again.returncode == 1
    assert "failed before" in again.stderr

    swept = shell.run(ask.replace("train.py", "train.py -m").replace("=100", "=100,0.05"), check=False)
    assert swept.returncode == 1
    assert "failed: " in swept.stdout
    assert "trained" in swept.stdout


@pytest.mark.long
def test_two_processes_share_each_batch(shell: Shell) -> None:
    done = shell.run(f"python train.py trainer.devices=2 {ASK}")
    assert float(done.stdout.splitlines()[1].split()[3]) < 60.0
    assert rows(shell.home, "select status from runs") == [("FINISHED",)]

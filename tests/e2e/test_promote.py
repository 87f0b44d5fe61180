"""Promotion as a user types it, on real MNIST: register, promote, refuse, roll back, compare, and `kill -9`."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from gallery import choose, fingerprint
from shell import Shell

from lenet.core.project import Project
from lenet.registry.registered_model import RegisteredModel

RANDOM_KILLS = 4
KEPT = ("mlflow.db", "promotions", "results/evaluation.json")


def aliases(shell: Shell) -> dict[str, str]:
    with closing(sqlite3.connect(shell.home / "mlflow.db")) as connection:
        rows = connection.execute("select alias, version from registered_model_aliases").fetchall()
    assert [alias for alias, _ in rows].count("champion") == 1
    return {alias: str(version) for alias, version in rows}


def assert_champion_is_whole(shell: Shell) -> None:
    with RegisteredModel(Project(shell.root, shell.home), "lenet5") as registry:
        champion = registry.by_alias("champion")
        assert champion is not None
        registry.verify(champion)


@pytest.fixture(scope="module")
def gallery(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A weak champion, version 1; a much better challenger, version 2; and one that is no better than that, 3."""
    root = tmp_path_factory.mktemp("promote") / "lenet-lab"
    shutil.copytree(project_root, root)
    shell = Shell(root, root)
    shell.run(f"python {Path(__file__).with_name('gallery.py')} {root}")
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")  # the file alone is whole
    for name in KEPT:
        copy(root / name, root / "kept" / name)
    return shell


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


@pytest.fixture
def fresh(gallery: Shell) -> Shell:
    """The same gallery before anything but version 1 was promoted."""
    for path in gallery.home.glob("mlflow.db-*"):
        path.unlink()
    for name in KEPT:
        copy(gallery.home / "kept" / name, gallery.home / name)
    return gallery


def test_promote_refuse_roll_back_promote(fresh: Shell) -> None:
    done = fresh.run("lenet promote")
    assert done.stdout.splitlines()[0].startswith("lenet5 version 2 (lenet5 seed=")
    assert re.search(r"^  passed quality: .* \(McNemar p ", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1] == "promoted: version 2 is the champion, version 1 the previous one"
    assert aliases(fresh) == {"champion": "2", "previous": "1"}
    assert "is the champion; there is no challenger" in fresh.run("lenet promote").stdout
    assert "is the champion already" in fresh.run("lenet promote 2").stdout

    refused = fresh.run("lenet promote 3", check=False)
    assert refused.returncode == 1
    assert refused.stdout.splitlines()[-1].startswith("refused (")
    assert "failed quality" in refused.stdout
    assert aliases(fresh) == {"champion": "2", "previous": "1"}

    assert "is the champion again; version 2 is rolled back" in fresh.run("lenet rollback").stdout
    assert aliases(fresh) == {"champion": "1"}
    again = fresh.run("lenet rollback", check=False)
    assert again.returncode == 1
    assert again.stderr == "error: lenet5: has no previous champion to go back to (`lenet registry`)\n"
    unsaid = fresh.run("lenet promote @champion && lenet promote 2", check=False)
    assert unsaid.returncode == 1
    assert "state a --reason" in unsaid.stderr
    fresh.run("lenet promote lenet5/2 --reason 'the field was at fault'")
    assert aliases(fresh) == {"champion": "2", "previous": "1"}
    assert_champion_is_whole(fresh)

    shown = fresh.run("lenet registry").stdout
    assert re.search(r"^2 +champion +lenet5 +\d ", shown, re.MULTILINE)
    assert re.search(r"^5 .* promote .* the field was at fault$", shown, re.MULTILINE)
    tree = json.loads(fresh.run("lenet registry --json").stdout)
    assert [entry["action"] for entry in tree["history"]] == ["promote", "promote", "refuse", "rollback", "promote"]
    assert [version["version"] for version in tree["versions"]] == ["1", "2", "3"]


@pytest.mark.long
def test_registering_again_changes_nothing(fresh: Shell) -> None:
    before = aliases(fresh)
    assert "registered already" in fresh.run("lenet register").stderr
    assert aliases(fresh) == before
    fresh.run("lenet promote")
    # what is chosen is the champion now: registered again, it challenges nobody
    assert "lenet5 version 2 (champion): registered already" in fresh.run("lenet register").stderr
    assert aliases(fresh) == {"champion": "2", "previous": "1"}
    assert len(json.loads(fresh.run("lenet registry --json").stdout)["versions"]) == 3


def test_a_tampered_version_is_refused_in_a_line(fresh: Shell) -> None:
    (path,) = _artifacts(fresh, "2", "weights.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        done = fresh.run("lenet promote", check=False)
    finally:
        path.write_bytes(content)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "weights.safetensors: sha256 is" in done.stderr
    assert "lenet5 version 2 is refused" in done.stderr
    assert aliases(fresh) == {"champion": "1", "challenger": "2"}


def _artifacts(shell: Shell, number: str, name: str) -> list[Path]:
    with closing(sqlite3.connect(shell.home / "mlflow.db")) as connection:
        rows = connection.execute("select source from model_versions where version = ?", (number,)).fetchall()
    return [Path(row[0].removeprefix("file://")) / name for row in rows]


def test_compare_says_which_is_better_and_whether_it_is_significant(fresh: Shell) -> None:
    page = fresh.run("lenet compare @champion 2").stdout
    assert re.match(r"B misclassifies [\d,]+ images fewer than A: significant \(p = ", page)
    assert "10,000 test images of mnist" in page
    again = fresh.run(f"lenet compare lenet5/2 {fingerprint(fresh.root, 1)[:10]}").stdout
    assert re.search(r"McNemar's exact test, two-sided: p = ", again)
    same = fresh.run("lenet compare 2 lenet5@challenger").stdout
    assert same.startswith("A and B are the same weights.")
    none = fresh.run("lenet compare 2 9", check=False)
    assert (none.returncode, len(none.stderr.splitlines())) == (1, 1)
    assert "9: is no version of lenet5" in none.stderr


@pytest.mark.long
def test_killed_at_random_times_there_is_one_champion(fresh: Shell) -> None:
    began = time.monotonic()
    fresh.run("lenet compare 1 2")  # about as long as a promotion
    length = time.monotonic() - began
    chance = random.Random(5)
    for _ in range(RANDOM_KILLS):
        process = fresh.start("lenet promote")
        time.sleep(chance.uniform(0.3, 1.3) * length)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        shown = fresh.run("lenet registry").stdout
        assert shown.count("champion") >= 1
        assert aliases(fresh) in ({"champion": "1", "challenger": "2"}, {"champion": "2", "previous": "1"})
        assert_champion_is_whole(fresh)
    fresh.run("lenet promote")
    assert aliases(fresh) == {"champion": "2", "previous": "1"}
    assert_champion_is_whole(fresh)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.long
def test_a_server_is_a_registry_like_any_other(fresh: Shell, tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    words += ["--artifacts-destination", str(tmp_path / "artifacts"), "--port", str(port), "--workers", "1"]
    options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    server = subprocess.Popen(words, env=fresh.variables() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, **options)
    home = tmp_path / "home"
    shutil.copytree(fresh.home / "runs", home / "runs")
    shell = Shell(fresh.root, home, {"MLFLOW_TRACKING_URI": uri})
    try:
        _wait_for(port)
        choose(shell.root, 1)
        assert "promoted: version 1 is the champion" in shell.run("lenet register").stderr
        shutil.rmtree(home / "runs")  # another machine: what it judges by comes from the server
        assert "is the champion already" in shell.run("lenet promote 1").stdout
        assert shell.run("lenet compare 1 @champion").stdout.startswith("A and B are the same weights.")
        assert re.search(r"^1 +champion ", shell.run("lenet registry").stdout, re.MULTILINE)

        # A version that the server's disk damaged, or lost, is made anew and put in the damaged one's place.
        shutil.copytree(fresh.home / "runs", home / "runs")
        (weights,) = (tmp_path / "artifacts").glob("*/models/*/artifacts/weights.safetensors")
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        assert "version 2 (challenger): registered\n" in shell.run("lenet register").stderr
        repaired = shell.run("lenet promote")
        assert "version 1 is refused" in repaired.stderr
        assert "replaces version 1, whose weights it has" in repaired.stdout
        for folder in {path.parent for path in (tmp_path / "artifacts").rglob("manifest.json")}:
            shutil.rmtree(folder)
        lost = shell.run("lenet compare @champion 1")
        assert lost.stdout.startswith("A and B are the same weights.")
        assert re.search(r"version 2: http://\S+ does not have its files any more; .*read from runs/", lost.stderr)
        assert "version 3 (challenger): registered\n" in shell.run("lenet register").stderr
        assert "replaces version 2, whose weights it has" in shell.run("lenet promote").stdout
    finally:
        server.terminate()
        server.wait(30)
    away = shell.run("lenet promote 1", check=False)
    assert away.returncode == 1
    assert len(away.stderr.splitlines()) == 1
    assert "start it and run the command again" in away.stderr


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 90
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline
        time.sleep(0.2)

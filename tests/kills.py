"""Run commands on one home again and again, each in a child that is killed at a point of its own, and look after it.

Usage: python kills.py <number of points>|all|times <project root> <lenet command …>

The home is put back before every kill. After it `lenet registry` is run, as the next command a user types, and what it
leaves is looked at. Points are before and after every write to disk and every call that changes the registry and, in
between, right before its database commits: `all` kills at each, a number at so many, spread over the whole change;
`times` kills twenty children at random times. Prints a JSON list: for each kill where it was, and what was found after.
Children are forked, so that the imports are paid for once.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

RANDOM_KILLS = 20
COUNT = -1
"""The point of a bomb that only counts the points it passes, a dot each."""

CHANGES = ("set_model_version_tag", "delete_model_version_tag", "set_registered_model_alias")
CHANGES += ("delete_registered_model_alias",)
KEPT = ("mlflow.db", "promotions")


class Bomb:
    """Kills its own process at the nth point that it passes."""

    def __init__(self, at: int, fuse: int) -> None:
        self.at, self.fuse, self.passed = at, fuse, 0

    def point(self, name: str) -> None:
        self.passed += 1
        if self.at == COUNT:
            os.write(self.fuse, b".")
        if self.passed == self.at:
            os.write(self.fuse, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def wrapped(*words: Any, **options: Any) -> Any:
            self.point(f"before {name}")
            answer = real(*words, **options)
            self.point(f"after {name}")
            return answer

        setattr(owner, name, wrapped)

    def plant(self) -> None:
        from mlflow import MlflowClient
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        for name in CHANGES:
            self.wrap(MlflowClient, name)
        for name in ("replace", "write_bytes"):
            self.wrap(Path, name)
        self.wrap(os, "fsync")
        event.listen(Engine, "commit", lambda connection: self.point("before commit"))


def fork(action: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    return pid


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def command(words: list[str]) -> None:
    from lenet.cli import main

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main(words)


def keep(home: Path, kept: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    shutil.copyfile(home / "mlflow.db", kept / "mlflow.db")
    shutil.copytree(home / "promotions", kept / "promotions")


def put_back(home: Path, kept: Path) -> None:
    for path in home.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(home / "promotions")
    shutil.copyfile(kept / "mlflow.db", home / "mlflow.db")
    shutil.copytree(kept / "promotions", home / "promotions")


def found(root: Path) -> dict[str, Any]:
    """What a user has after the next command: aliases, the champion's bytes, the history, what is left behind."""
    from lenet.core.errors import LenetError
    from lenet.core.project import Project
    from lenet.registry.registered_model import RegisteredModel

    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        aliases = connection.execute("select alias, version from registered_model_aliases").fetchall()
    with RegisteredModel(Project(root, root), "classifier") as registry:
        champion = registry.by_alias("champion")
        assert champion is not None
        try:
            registry.verify(champion)
            is_whole = True
        except LenetError:
            is_whole = False
        tags = {one.number: sorted(name for name in one.tags if "_at" in name) for one in registry.versions}
    folder = root / "promotions"
    return {
        "aliases": {alias: str(version) for alias, version in aliases},
        "champions": sum(alias == "champion" for alias, _ in aliases),
        "is_whole": is_whole,
        "tags": tags,
        "history": sorted(path.name for path in folder.glob("[0-9]*")),
        "left": sorted(path.name for path in folder.iterdir() if not path.name[0].isdigit()),
    }


def killed_at(point: int, words: list[str]) -> str | None:
    """Kill a child at its nth point and return which it was; None where it ended before."""
    read, write = os.pipe()

    def action() -> None:
        Bomb(point, write).plant()
        command(words)

    pid = fork(action)
    os.close(write)
    name = os.read(read, 100).decode()
    os.close(read)
    code = wait(pid)
    assert (code == -signal.SIGKILL) == bool(name), (code, name)
    assert name or code == 0, code
    return name or None


def count_points(words: list[str]) -> int:
    read, write = os.pipe()

    def action() -> None:
        Bomb(COUNT, write).plant()
        command(words)

    pid = fork(action)
    os.close(write)
    with os.fdopen(read, "rb") as dots:
        passed = len(dots.read())
    assert wait(pid) == 0
    return passed


def killed_after(seconds: float, words: list[str]) -> str | None:
    pid = fork(lambda: command(words))
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return f"after {seconds:.3f} s" if wait(pid) == -signal.SIGKILL else None


def main() -> None:
    kind, root, words = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    import mlflow  # noqa: F401
    import scipy.special  # noqa: F401
    import torch

    import lenet.evaluation.predict
    import lenet.gate.promote
    import lenet.models.classifier
    import lenet.registry.rollback  # noqa: F401

    torch.set_num_threads(1)
    os.chdir(root)
    kept = root / "kept"
    keep(root, kept)
    began = time.monotonic()
    passed = count_points(words)
    length = time.monotonic() - began
    chance = random.Random(1998)
    asked = passed if kind == "all" else RANDOM_KILLS if kind == "times" else int(kind)
    assert asked <= passed or kind == "times", passed
    results = []
    for number in range(asked):
        put_back(root, kept)
        if kind == "times":
            where = killed_after(chance.uniform(0.0, length), words)
        else:  # the first, the last, and as many between, evenly
            where = killed_at(1 + round(number * (passed - 1) / max(1, asked - 1)), words)
            assert where is not None
        assert wait(fork(lambda: command(["registry"]))) == 0
        after = found(root)
        assert wait(fork(lambda: command(words))) in {0, 1}
        results.append({"where": where, "after": after, "again": found(root)})
    print(json.dumps(results))


if __name__ == "__main__":
    main()

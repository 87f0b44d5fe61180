from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import optuna
import pytest

from lenet.core.errors import ConfigError
from lenet.search.dashboard import HOST, PORT, dashboard, free_port

PATIENCE_SECONDS = 60.0


def studies(address: str) -> list[str]:
    """The names of the studies that the dashboard shows, once it answers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urlopen(f"{address}api/studies", timeout=PATIENCE_SECONDS) as answer:
                return [one["study_name"] for one in json.load(answer)["study_summaries"]]
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_it_shows_the_study_and_runs_until_ctrl_c(tmp_path: Path, said: list[str]) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    optuna.create_study(study_name="recipe", storage=url).add_trial(optuna.trial.create_trial(value=0.6))
    seen: list[list[str]] = []

    def look() -> None:
        try:
            seen.append(studies(said[0].removeprefix("dashboard: ")))
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with dashboard(url):
            threading.Thread(target=look).start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [["recipe"]]
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, int(said[0].rsplit(":", 1)[1].strip("/")))) != 0


def test_a_dashboard_that_fails_is_an_error() -> None:
    with pytest.raises(ConfigError, match="--dashboard: ended with code"), dashboard("nothing://"):
        pass


def test_another_port_is_used_where_the_usual_one_is_in_use() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just closed is free
        with suppress(OSError):  # it is in use already
            other.bind((HOST, PORT))
            other.listen()
        assert free_port() != PORT

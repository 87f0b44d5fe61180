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


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with one study."""
    found = f"sqlite:///{tmp_path}/optuna.db"
    optuna.create_study(study_name="recipe", storage=found).add_trial(optuna.trial.create_trial(value=0.6))
    return found


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


def test_it_shows_the_study_and_stays_until_ctrl_c(url: str, said: list[str]) -> None:
    seen: list[list[str]] = []

    def look() -> None:
        try:
            seen.append(studies(said[0].removeprefix("dashboard: ")))
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    with dashboard(url, said.append):
        threading.Thread(target=look).start()
    assert seen == [["recipe"]]
    assert said[1] == "the search is over; the dashboard stays until Ctrl-C"
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, int(said[0].rsplit(":", 1)[1].strip("/")))) != 0


def test_one_that_ends_of_itself_is_an_error_with_its_reason(said: list[str]) -> None:
    with pytest.raises(ConfigError, match="--dashboard: it ended with code"), dashboard("nothing://", said.append):
        pass


def test_a_port_in_use_is_left_to_who_uses_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just closed is free
        with suppress(OSError):  # somebody else listens there: as good
            other.bind((HOST, PORT))
            other.listen()
        assert free_port() != PORT

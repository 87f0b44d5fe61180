from __future__ import annotations

import json
import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import optuna

from lenet.search.dashboard import HOST, PORT, dashboard


def test_it_shows_the_study_on_a_free_port_until_ctrl_c(tmp_path: Path, said: list[str]) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    optuna.create_study(study_name="recipe", storage=url).add_trial(optuna.trial.create_trial(value=0.6))
    seen: list[list[str]] = []

    def look() -> None:
        try:
            with urlopen(f"{said[0].removeprefix('dashboard: ')}api/studies", timeout=60) as response:
                seen.append([one["study_name"] for one in json.load(response)["study_summaries"]])
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with socket.socket() as other:
            with suppress(OSError):  # the usual port is in use already
                other.bind((HOST, PORT))
                other.listen()
            with dashboard(url):
                threading.Thread(target=look).start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [["recipe"]]
    port = int(said[0].rsplit(":", 1)[1].strip("/"))
    assert port != PORT
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, port)) != 0

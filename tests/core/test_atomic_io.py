from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lenet.core.atomic_io import (
    atomic_write,
    canonical_json,
    check_digest,
    half_written,
    read_json,
    remove,
    remove_half_written,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_json,
    write_text,
)
from lenet.core.errors import DamagedError, LenetError

BODY: dict[str, Any] = {"name": "é 1", "count": 3, "rate": 1e-05, "none": None, "rows": [{"epoch": 1, "loss": 0.25}]}


def test_digests_are_sha256(tmp_path: Path) -> None:
    assert sha256_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path = tmp_path / "big"
    path.write_bytes(b"x" * (3 << 20) + b"end")
    assert sha256_file(path) == sha256_bytes(path.read_bytes())


def test_canonical_json_is_one_text() -> None:
    assert canonical_json({"b": [1, 2.5, None, "é"], "a": True}) == '{"a":true,"b":[1,2.5,null,"é"]}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_json_comes_back_without_its_seal(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "body.json"
    write_json(path, BODY)
    assert read_json(path) == BODY
    assert json.loads(path.read_text())["sha256"] == sha256_bytes(canonical_json(BODY).encode())
    assert list(path.parent.iterdir()) == [path]


def json_or_none(content: bytes | bytearray) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_a_flipped_bit_in_every_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    write_json(path, BODY)
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            if json_or_none(flipped) == json_or_none(content):  # 1e-05 and 1E-05 are the same number
                assert content[place : place + 1] == b"e"
                assert read_json(path) == BODY
                continue
            with pytest.raises(DamagedError) as caught:
                read_json(path)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    write_json(path, BODY)
    content = path.read_bytes().rstrip()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedError):
            read_json(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"{}", "has no seal"),
        (b"[1]", "has no seal"),
        (b'{"a": 1, "sha256": "0"}', "does not fit its seal"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "body.json"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=message):
        read_json(path)


def test_a_foreign_file_with_nan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_bytes(b'{"a": NaN, "sha256": "0"}')
    with pytest.raises(DamagedError):
        read_json(path)


def test_a_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


def test_nan_cannot_be_written_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    write_json(path, BODY)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("inf")})
    assert read_json(path) == BODY


def in_a_child(action: Any) -> int:
    """Run `action` in a forked process and return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_crash_before_the_rename_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def crash() -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"new")
            os._exit(7)

    assert in_a_child(crash) == 7
    assert path.read_text() == "old"
    (left,) = [one for one in tmp_path.iterdir() if one != path]
    assert left.name.endswith(".partial")
    assert left.name.startswith(".")
    write_text(path, "newer")
    assert path.read_text() == "newer"


def test_a_crash_before_the_first_rename_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def crash() -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"half")
            os._exit(7)

    assert in_a_child(crash) == 7
    assert not path.exists()


def test_an_error_while_writing_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_in_the_same_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        assert not path.exists()
        temporary.write_text("x")
    assert path.read_text() == "x"


def test_a_digest_on_record_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(DamagedError, match=rf"^{path}: is missing; do this$"):
        check_digest(path, "0" * 64, "do this")
    path.write_bytes(b"abc")
    check_digest(path, sha256_bytes(b"abc"), "do this")
    with pytest.raises(DamagedError, match=rf"^{path}: sha256 is ba7816bf8f01…, on record is 000000000000…; do this$"):
        check_digest(path, "0" * 64, "do this")
    with pytest.raises(DamagedError, match="sha256 is ba7816bf8f01…"):  # another digest, if by its last digit alone
        check_digest(path, f"{sha256_bytes(b'abc')[:-1]}0", "do this")


def test_processes_of_one_id_write_under_two_names(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as first, atomic_write(path) as second:  # as in two containers, both of process id 1
        assert first != second
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_lies_there_is_not_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda count: "00")
    (tmp_path / ".file.00.partial").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "file", "x")
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_being_written_is_left_and_what_a_dead_process_wrote_goes(tmp_path: Path) -> None:
    def crash() -> None:
        with atomic_write(tmp_path / "deep" / "dead"):
            os._exit(7)

    assert in_a_child(crash) == 7
    (left,) = half_written(tmp_path)
    assert half_written(tmp_path, is_deep=False) == []
    beside = left.with_name(f"{left.name}-journal")
    beside.write_bytes(b"SQLite's")
    with atomic_write(tmp_path / "alive") as temporary:
        assert half_written(tmp_path) == [left, beside]
        remove_half_written(tmp_path)
        assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [temporary]
        temporary.write_bytes(b"x")
    assert (tmp_path / "alive").read_bytes() == b"x"


@pytest.mark.parametrize("linked", ["tree", "tree/inner", "tree/inner/leaf"])
def test_nothing_is_removed_through_a_link(tmp_path: Path, linked: str) -> None:
    root, theirs = tmp_path / "root", tmp_path / "theirs"
    (theirs / "inner").mkdir(parents=True)
    (theirs / "inner" / "leaf").write_text("dear")
    link = root / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(theirs / Path(linked).relative_to("tree"))
    with pytest.raises(LenetError, match=rf"^{link}: is a symbolic link, and nothing is deleted through one"):
        remove(root / "tree" / "inner" / "leaf", root)
    with pytest.raises(LenetError, match=rf"^{link}: is a symbolic link"):
        remove(link, root)
    assert (theirs / "inner" / "leaf").read_text() == "dear"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", "/etc"])
def test_nothing_is_removed_outside_its_root(tmp_path: Path, name: str) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "x").mkdir()
    with pytest.raises(LenetError, match="does not lie within"):
        remove(tmp_path / "root" / name, tmp_path / "root")
    assert (tmp_path / "x").is_dir()
    assert (tmp_path / "root" / "a").is_dir()


def test_a_tree_is_removed_and_what_its_links_point_to_stays(tmp_path: Path) -> None:
    (tmp_path / "real" / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "real" / "tree" / "link").symlink_to(tmp_path / "theirs")
    (tmp_path / "root").symlink_to(tmp_path / "real")  # one's runs may lie on another disk
    remove(tmp_path / "root" / "tree", tmp_path / "root")
    remove(tmp_path / "root" / "tree", tmp_path / "root")  # it is gone
    assert list((tmp_path / "real").iterdir()) == []
    assert (tmp_path / "theirs").is_dir()

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lenet.durable import (
    canonical_json,
    check_digest,
    read_json,
    replacing,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_json,
    write_text,
)
from lenet.errors import DamagedError

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
        with replacing(path) as temporary:
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
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            os._exit(7)

    assert in_a_child(crash) == 7
    assert not path.exists()


def test_an_error_while_writing_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_in_the_same_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with replacing(path) as temporary:
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

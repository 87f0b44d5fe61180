from __future__ import annotations

import gzip
import io
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet.data.download import safe_pickle as pickled
from lenet.data.download.safe_pickle import load_arrays, original_arrays
from lenet.data.download.stream import SourceError


def packed(content: Any) -> io.BytesIO:
    return io.BytesIO(gzip.compress(pickle.dumps(content, protocol=3)))


class Evil:
    """Unpickles to what `function(argument)` returns."""

    def __init__(self, function: Any, argument: str) -> None:
        self.call = function, (argument,)

    def __reduce__(self) -> Any:
        return self.call


def test_arrays_come_back() -> None:
    images, labels = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2])
    (first, second) = load_arrays(packed((images, labels)))
    assert np.array_equal(first, images)
    assert np.array_equal(second, labels)


@pytest.mark.parametrize("module", pickled.PICKLE_MODULES)
def test_both_names_of_numpy_are_read(module: str) -> None:
    content = pickle.dumps(np.arange(3), protocol=3)
    for name in pickled.PICKLE_MODULES:
        content = content.replace(f"c{name}\n".encode(), f"c{module}\n".encode())
    assert f"c{module}\n".encode() in content
    assert load_arrays(io.BytesIO(gzip.compress(content))).tolist() == [0, 1, 2]


@pytest.mark.parametrize("function", [os.system, subprocess.getoutput, eval, Path])
def test_a_pickle_that_names_code_is_refused_before_it_runs(tmp_path: Path, function: Any) -> None:
    target = tmp_path / "evil"
    argument = f"open({str(target)!r}, 'w')" if function is eval else f"touch {target}"
    with pytest.raises(SourceError, match="which is not an array"):
        load_arrays(packed(Evil(function, argument)))
    assert not target.exists()


def test_an_evil_pickle_within_an_array_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "evil"
    with pytest.raises(SourceError, match="which is not an array"):
        load_arrays(packed(np.array([Evil(os.system, f"touch {target}")], dtype=object)))
    assert not target.exists()


def test_numpys_own_dangerous_functions_are_refused() -> None:
    with pytest.raises(SourceError, match="names numpy"):
        load_arrays(packed(Evil(np.load, "/etc/passwd")))


@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip", gzip.compress(b""), gzip.compress(b"not a pickle"), gzip.compress(pickle.dumps([1] * 99)[:-5])],
    ids=["empty", "not gzip", "empty gzip", "not a pickle", "cut short"],
)
def test_broken_pickles_are_one_line(content: bytes) -> None:
    with pytest.raises(SourceError, match="its pickle cannot be read") as caught:
        load_arrays(io.BytesIO(content))
    assert "\n" not in str(caught.value)


def test_every_truncated_pickle_is_refused() -> None:
    content = pickle.dumps((np.arange(4, dtype=np.float32), 3), protocol=3)
    for length in range(len(content)):
        with pytest.raises(SourceError, match="its pickle cannot be read"):
            load_arrays(io.BytesIO(gzip.compress(content[:length], 1)))


def test_a_long_pickle_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "FILE_BYTES_LIMIT", 100_000)
    with pytest.raises(SourceError, match="too long"):
        load_arrays(packed(np.zeros(1_000_000, dtype=np.uint8)))


def test_parts_become_the_official_arrays() -> None:
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (12, 5, 5), dtype=np.uint8)
    labels = draw.integers(0, 10, 12, dtype=np.uint8)

    def part(start: int, stop: int) -> tuple[Any, Any]:
        return images[start:stop].reshape(-1, 25).astype(np.float32) / 256, labels[start:stop].astype(np.int64)

    arrays = original_arrays((part(0, 6), part(6, 9), part(9, 12)))
    assert np.array_equal(arrays["train_images"], images[:9])
    assert np.array_equal(arrays["train_labels"], labels[:9])
    assert np.array_equal(arrays["test_images"], images[9:])
    assert np.array_equal(arrays["test_labels"], labels[9:])


@pytest.mark.parametrize("content", [None, 7, (1, 2, 3), ((1, 2),) * 3, ((np.zeros((2, 7)), np.zeros(2)),) * 3])
def test_other_content_is_refused(content: Any) -> None:
    with pytest.raises(SourceError, match="not three pairs"):
        original_arrays(content)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_set import NAMED, Tiny

from lenet.config.schema import DataConfig
from lenet.core.atomic_io import write_json
from lenet.core.errors import DamagedError, DataError
from lenet.data.arrays import ARRAYS, TEST_ARRAYS, TRAIN_ARRAYS, load_test, load_training, read_card, training_digest
from lenet.data.prepare import prepare


@pytest.fixture
def prepared(tiny: Tiny, tmp_path: Path) -> Path:
    folder = tmp_path / "prepared" / "tiny"
    prepare(DataConfig("tiny", 1, 28, 28, tuple(NAMED), None, 20, tiny.origin()), tiny.write(tmp_path / "raw"), folder)
    return folder


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_arrays_come_back(prepared: Path, tiny: Tiny) -> None:
    arrays = load_training(prepared)
    assert np.array_equal(arrays.images, tiny.arrays["train_images"][:, None])
    assert np.array_equal(arrays.labels, tiny.arrays["train_labels"])
    assert (arrays.images.dtype, arrays.labels.dtype, arrays.order.dtype) == (np.uint8, np.uint8, np.int64)
    images, labels = load_test(prepared)
    assert np.array_equal(images, tiny.arrays["test_images"][:, None])
    assert np.array_equal(labels, tiny.arrays["test_labels"])


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("bit", [3, 1100])
def test_a_flipped_bit_in_any_array_is_noticed(prepared: Path, name: str, bit: int) -> None:
    flip(prepared / name, bit)
    load, other = (load_training, load_test) if name in TRAIN_ARRAYS else (load_test, load_training)
    with pytest.raises(DamagedError, match=f"{name}: sha256 is .*run: lenet prepare tiny$"):
        load(prepared)
    other(prepared)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_array_is_noticed(prepared: Path, name: str) -> None:
    (prepared / name).unlink()
    with pytest.raises(DamagedError, match=f"{name}: is missing; run: lenet prepare tiny"):
        (load_training if name not in TEST_ARRAYS else load_test)(prepared)


def test_flipped_bits_in_the_card_are_noticed(prepared: Path) -> None:
    card = prepared / "card.json"
    content = card.read_bytes()
    # What is not noticed is space between two values, which says nothing.
    told = [bit for bit in range(0, len(content) * 8, 131) if not content[bit // 8 : bit // 8 + 1].isspace()]
    for bit in told:
        flip(card, bit)
        with pytest.raises(DamagedError, match=r"card\.json: is damaged; run: lenet prepare tiny$"):
            read_card(prepared)
        card.write_bytes(content)


@pytest.mark.parametrize("read", [read_card, training_digest, load_training, load_test])
def test_a_folder_that_is_not_there_says_what_to_run(tmp_path: Path, read: object) -> None:
    with pytest.raises(DataError, match=r"tiny: holds no prepared data set; run: lenet data tiny$"):
        read(tmp_path / "tiny")  # type: ignore[operator]


def test_a_card_of_another_version_is_refused(prepared: Path) -> None:
    write_json(prepared / "card.json", {**read_card(prepared), "format": 0})
    with pytest.raises(DamagedError, match="has format 0, this version reads 2; run: lenet prepare tiny"):
        read_card(prepared)

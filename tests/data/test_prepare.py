from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_set import NAMED, NAMES, TEST_IMAGES, TRAIN_IMAGES, Tiny

from lenet.config.schema import DataConfig
from lenet.core.atomic_io import sha256_file
from lenet.core.errors import ConfigError, DamagedError, DataError
from lenet.data.arrays import ARRAYS, read_card, training_digest
from lenet.data.idx import to_idx
from lenet.data.prepare import prepare
from lenet.data.split import split, stratified_order

VALIDATION = 20


def config(tiny: Tiny, validation_size: int = VALIDATION) -> DataConfig:
    return DataConfig("tiny", 1, 28, 28, tuple(NAMED), None, validation_size, tiny.origin())


@pytest.fixture
def raw(tiny: Tiny, tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "raw" / "tiny")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "tiny"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_arrays_are_the_files_content(tiny: Tiny, raw: Path, prepared: Path) -> None:
    prepare(config(tiny), raw, prepared)
    for part in ("train", "test"):
        assert np.array_equal(np.load(prepared / part / "images.npy"), tiny.arrays[f"{part}_images"][:, None])
        assert np.array_equal(np.load(prepared / part / "labels.npy"), tiny.arrays[f"{part}_labels"])
    order = np.load(prepared / "train" / "order.npy")
    assert np.array_equal(order, stratified_order(tiny.arrays["train_labels"]))
    assert sorted(snapshot(prepared)) == sorted([*ARRAYS, "card.json"])


def test_the_card_says_what_there_is(tiny: Tiny, raw: Path, prepared: Path) -> None:
    card = prepare(config(tiny), raw, prepared)
    assert read_card(prepared) == json.loads(json.dumps(card))
    labels = tiny.arrays["train_labels"]
    train, validation = split(stratified_order(labels), None, VALIDATION)
    assert card["counts"] == {
        "train": {"images": TRAIN_IMAGES - VALIDATION, "per_class": np.bincount(labels[train]).tolist()},
        "validation": {"images": VALIDATION, "per_class": np.bincount(labels[validation]).tolist()},
        "test": {"images": TEST_IMAGES, "per_class": np.bincount(tiny.arrays["test_labels"]).tolist()},
    }
    pixels = tiny.arrays["train_images"][train] / 255
    assert card["mean"] == pytest.approx([pixels.mean()], rel=1e-12)
    assert card["deviation"] == pytest.approx([pixels.std()], rel=1e-12)
    assert card["arrays"] == {name: sha256_file(prepared / name) for name in ARRAYS}
    assert card["raw"] == {name: sha256_file(raw / name) for name in tiny.files}
    assert (card["name"], card["classes"], card["image_shape"]) == ("tiny", NAMED, [1, 28, 28])


def test_preparing_again_gives_the_same_bytes(tiny: Tiny, raw: Path, prepared: Path) -> None:
    prepare(config(tiny), raw, prepared)
    before = snapshot(prepared)
    prepare(config(tiny), raw, prepared)
    assert snapshot(prepared) == before


def test_digests_depend_on_their_part_alone(tiny: Tiny, raw: Path, prepared: Path) -> None:
    card = prepare(config(tiny), raw, prepared)
    assert training_digest(prepared) == card["training_digest"]
    assert prepare(config(tiny, 30), raw, prepared)["training_digest"] == card["training_digest"]
    images = tiny.arrays["test_images"].copy()
    images[0, 0, 0] ^= 1
    tiny.files[NAMES["test_images"]] = to_idx(images)
    tiny.write(raw)
    other = prepare(config(tiny), raw, prepared)
    assert other["training_digest"] == card["training_digest"]
    assert other["test_digest"] != card["test_digest"]


@pytest.mark.parametrize("role", NAMES)
def test_a_flipped_bit_in_any_raw_file_is_noticed(tiny: Tiny, raw: Path, prepared: Path, role: str) -> None:
    damaged = bytearray(tiny.files[NAMES[role]])
    damaged[-1] ^= 1
    (raw / NAMES[role]).write_bytes(damaged)
    with pytest.raises(DamagedError, match=f"{NAMES[role]}: sha256 is .*run: lenet fetch tiny$"):
        prepare(config(tiny), raw, prepared)
    assert not prepared.exists()


def test_a_missing_raw_file(tiny: Tiny, raw: Path, prepared: Path) -> None:
    (raw / NAMES["test_labels"]).unlink()
    with pytest.raises(DamagedError, match="tiny-test-labels: is missing; run: lenet fetch tiny"):
        prepare(config(tiny), raw, prepared)


def test_images_of_another_shape_than_the_configs_are_refused(tmp_path: Path) -> None:
    tiny = Tiny(side=32)
    with pytest.raises(DataError, match=r"1 channel of 32×32.*1 channel of 28×28"):
        prepare(config(tiny), tiny.write(tmp_path / "raw"), tmp_path / "prepared")


def test_images_and_labels_must_be_as_many(tiny: Tiny, raw: Path, prepared: Path) -> None:
    tiny.files[NAMES["train_labels"]] = to_idx(tiny.arrays["train_labels"][:-1])
    tiny.write(raw)
    with pytest.raises(DataError, match=f"has {TRAIN_IMAGES - 1} labels for the {TRAIN_IMAGES} images"):
        prepare(config(tiny), raw, prepared)


def test_labels_must_fit_the_classes(tiny: Tiny, raw: Path, prepared: Path) -> None:
    with pytest.raises(DataError, match="is not one of 0 to 2"):
        prepare(replace(config(tiny), classes=tuple(NAMED[:-1])), raw, prepared)


def test_impossible_sizes_and_a_missing_origin(tiny: Tiny, raw: Path, prepared: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.validation_size=120"):
        prepare(config(tiny, TRAIN_IMAGES), raw, prepared)
    with pytest.raises(ConfigError, match=r"data\.origin is missing"):
        prepare(replace(config(tiny), origin=None), raw, prepared)
    assert not prepared.exists()


CRASH = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_prepare import config
from tiny_set import Tiny
from lenet.data.prepare import prepare
# The machine stops as the file with this number is to get its name.
left, rename = int(sys.argv[4]), os.replace
def stop(*names):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    rename(*names)
os.replace = stop
prepare(config(Tiny(), 30), Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.mark.parametrize("renames", [0, 3, len(ARRAYS)])
def test_a_crash_leaves_no_card_that_does_not_fit(tiny: Tiny, raw: Path, prepared: Path, renames: int) -> None:
    prepare(config(tiny), raw, prepared)
    here = str(Path(__file__).parent)
    crashed = subprocess.run([sys.executable, "-c", CRASH, here, str(raw), str(prepared), str(renames)], check=False)
    assert crashed.returncode == 9
    with pytest.raises(DataError, match="run: lenet data tiny"):
        read_card(prepared)
    prepare(config(tiny), raw, prepared)
    read_card(prepared)
    assert [name for name in snapshot(prepared) if name.endswith(".partial")] == []


def test_a_failing_disk_leaves_no_card(tiny: Tiny, raw: Path, prepared: Path) -> None:
    (prepared / "train" / "order.npy").mkdir(parents=True)
    (prepared / "train" / "order.npy" / "in the way").touch()
    with pytest.raises(OSError):
        prepare(config(tiny), raw, prepared)
    assert not (prepared / "card.json").exists()

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lenet.core.atomic_io import sha256_file
from lenet.core.errors import DataError
from lenet.core.project import Project
from lenet.data.arrays import load_test, load_training, read_card
from lenet.data.datasets import ensure_prepared, fetch_dataset, load_data_config
from lenet.data.prepare import prepare

CLASSES = ["round", "square"]
SIZES = {"train": 5, "test": 2}
HEIGHT, WIDTH = 6, 8


def draw(seed: int, channels: int) -> np.ndarray:
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_images(folder: Path, channels: int) -> dict[str, np.ndarray]:
    """Write PNGs, in no order of their names; return what they hold."""
    written = {}
    for part, count in SIZES.items():
        for label, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for number in reversed(range(count)):
                path = folder / part / name / f"{number}.png"
                written[f"{part}/{name}/{number}"] = draw(hash((part == "test", label, number)) % 1000, channels)
                Image.fromarray(written[f"{part}/{name}/{number}"]).save(path)
    return written


@pytest.fixture(params=[1, 3])
def images(request: pytest.FixtureRequest, project: Project) -> dict[str, np.ndarray]:
    body = {"name": "shapes", "channels": request.param, "height": HEIGHT, "width": WIDTH, "classes": CLASSES}
    body |= {"train_size": None, "validation_size": 4, "image_folder": "pictures"}
    (project.conf / "data").mkdir(parents=True)
    (project.conf / "data" / "shapes.yaml").write_text(yaml.safe_dump(body))
    return write_images(project.root / "pictures", request.param)


def stored(image: np.ndarray) -> np.ndarray:
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)


def test_a_folder_of_images_becomes_arrays_in_the_order_of_classes_and_names(
    project: Project, images: dict[str, np.ndarray]
) -> None:
    prepared = ensure_prepared(project, "shapes")
    arrays, (test, labels) = load_training(prepared), load_test(prepared)
    expected = [f"train/{name}/{number}" for name in CLASSES for number in range(SIZES["train"])]
    assert np.array_equal(arrays.images, np.stack([stored(images[name]) for name in expected]))
    assert arrays.labels.tolist() == [0] * 5 + [1] * 5
    assert np.array_equal(test[3], stored(images["test/square/1"]))
    assert labels.tolist() == [0, 0, 1, 1]
    card = read_card(prepared)
    assert (card["image_shape"][1:], card["classes"]) == ([HEIGHT, WIDTH], CLASSES)
    assert card["counts"]["validation"]["per_class"] == [2, 2]


def test_the_same_images_give_the_same_bytes_and_others_another_digest(
    project: Project, images: dict[str, np.ndarray]
) -> None:
    data = load_data_config(project.conf, "shapes")
    prepared = ensure_prepared(project, "shapes")
    before = {path.name: sha256_file(path) for path in prepared.rglob("*") if path.is_file()}
    card = prepare(data, project.raw("shapes"), prepared)
    assert {path.name: sha256_file(path) for path in prepared.rglob("*") if path.is_file()} == before
    (project.root / "pictures" / "test" / "round" / "0.png").unlink()
    fetch_dataset(project, data)
    assert not (project.raw("shapes") / "test" / "round" / "0.png").exists()
    after = prepare(data, project.raw("shapes"), prepared)
    assert (after["training_digest"], after["raw"] == card["raw"]) == (card["training_digest"], False)
    assert after["test_digest"] != card["test_digest"]


def missing_class(folder: Path) -> None:
    (folder / "train" / "square").rename(folder / "square")


def no_class(folder: Path) -> None:
    (folder / "train" / "triangle").mkdir()


def empty_class(folder: Path) -> None:
    for path in (folder / "test" / "round").iterdir():
        path.unlink()


def other_size(folder: Path) -> None:
    Image.new("RGB", (9, 9)).save(folder / "train" / "round" / "0.png")


def with_alpha(folder: Path) -> None:
    Image.new("RGBA", (WIDTH, HEIGHT)).save(folder / "train" / "round" / "0.png")


def no_image(folder: Path) -> None:
    (folder / "train" / "round" / "0.png").write_bytes(b"GIF?")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing_class, "has no folder for class square"),
        (no_class, "triangle is none of data.classes"),
        (empty_class, "has no image"),
        (other_size, "is 9×9, mode RGB"),
        (with_alpha, "mode RGBA"),
        (no_image, "cannot be read as an image"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line_and_leaves_no_card(
    project: Project, images: dict[str, np.ndarray], damage: Callable[[Path], None], message: str
) -> None:
    damage(project.root / "pictures")
    with pytest.raises(DataError) as caught:
        ensure_prepared(project, "shapes")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (project.prepared("shapes") / "card.json").exists()

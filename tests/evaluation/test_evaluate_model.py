from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lenet.config.schema import Config
from lenet.core.atomic_io import sha256_file, write_json
from lenet.data.arrays import load_test, read_card
from lenet.evaluation.calibration import expected_calibration_error
from lenet.evaluation.evaluate_model import evaluate_model
from lenet.evaluation.metrics import exact_interval
from lenet.evaluation.stats.bootstrap import calibration_interval, negative_log_likelihood_interval
from lenet.evaluation.trained_model import TrainedModel
from lenet.models.classifier import build_classifier

IMAGES = 230
"""More than the tiny set's own hundred, and no round number."""

CONFIDENCE = 0.8

Shape = tuple[tuple[int, int, int], int, tuple[int, int] | None]


@pytest.fixture(params=[((1, 28, 28), 10, (61_706, 4 * 61_708)), ((3, 32, 32), 4, None)], ids=["grey", "colour"])
def larger(prepared: Path, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Shape]:
    """The tiny set with another test part: its images' shape, its number of classes, and the network's size."""
    shape: Shape = request.param
    folder = shutil.copytree(prepared, tmp_path / "larger")
    source = np.random.default_rng(6)
    np.save(folder / "test" / "images.npy", source.integers(0, 256, (IMAGES, *shape[0]), dtype=np.uint8))
    np.save(folder / "test" / "labels.npy", source.integers(0, shape[1], IMAGES, dtype=np.uint8))
    card = read_card(folder)
    for name in ("test/images.npy", "test/labels.npy"):
        card["arrays"][name] = sha256_file(folder / name)
    write_json(folder / "card.json", card)
    return folder, shape


def test_every_figure_is_of_all_images_at_the_confidence_that_was_asked_for(
    make_config: Callable[..., Config], larger: tuple[Path, Shape], tmp_path: Path
) -> None:
    prepared, ((channels, height, width), classes, size) = larger
    names = [f"class {number}" for number in range(classes)]
    data = {"data__channels": channels, "data__height": height, "data__width": width, "data__classes": names}
    config, weights = make_config(seed=4, **data), tmp_path / "weights.safetensors"
    torch.manual_seed(4)
    reader = build_classifier(config, [0.4] * channels, [0.3] * channels).eval()
    save_file(reader.state_dict(), weights)
    model = TrainedModel("tanh seed=4", config, "f" * 64, "d" * 64, weights, sha256_file(weights))
    row, quality = evaluate_model(model, tmp_path / "logits.npy", prepared, CONFIDENCE)

    images, labels = load_test(prepared)
    logits = np.load(tmp_path / "logits.npy")
    with torch.inference_mode():
        assert logits == pytest.approx(reader(torch.from_numpy(images)).numpy(), abs=1e-4)
    wrong = int((logits.argmax(axis=1) != labels).sum())
    powers = np.exp(logits.astype(np.float64))
    likelihood = np.log(powers[np.arange(IMAGES), labels] / powers.sum(axis=1))
    assert (row["seed"], row["fingerprint"], row["misclassified"]) == (4, "f" * 64, wrong)
    assert row["error"] == pytest.approx(100 * wrong / IMAGES)
    assert row["loss"] == pytest.approx(-likelihood.mean(), abs=1e-6)
    assert row["interval"] == pytest.approx(exact_interval(wrong, IMAGES, CONFIDENCE), abs=1e-4)

    low, high = negative_log_likelihood_interval(logits, labels, CONFIDENCE)
    assert quality["loss_interval"] == pytest.approx([low, high], abs=1e-3)
    assert low < row["loss"] < high
    assert quality["calibration_error"] == pytest.approx(expected_calibration_error(logits, labels), abs=1e-3)
    assert quality["calibration_interval"] == pytest.approx(calibration_interval(logits, labels, CONFIDENCE), abs=1e-3)
    assert sum(one["images"] for one in quality["reliability"]) == IMAGES
    for label, one in enumerate(quality["recalls"]):
        of_class = labels == label
        right = int((logits[of_class].argmax(axis=1) == label).sum())
        assert (one["label"], one["images"], one["right"]) == (label, of_class.sum(), right)
        assert one["interval"] == pytest.approx(exact_interval(right, int(of_class.sum()), CONFIDENCE))
    for curve in quality["robustness"]:
        assert curve["images"] == IMAGES
        plain = {"scale": 1}.get(curve["distortion"], 0)
        assert curve["misclassified"][curve["levels"].index(plain)] == wrong
    assert len(quality["recalls"]) == classes
    if size is not None:
        assert (quality["parameters"], quality["weight_bytes"]) == size

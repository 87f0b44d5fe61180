from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lenet
from lenet.core.errors import LenetError
from lenet.data.arrays import load_test
from showcase import Showcase, flip, make_champion


def test_a_run_and_the_champion_classify_images(showcase: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    make_champion(showcase)
    run = showcase.run(3)
    images, labels = load_test(showcase.project.prepared("tiny"))
    monkeypatch.chdir(showcase.project.root)
    champion, blind = lenet.load("@champion"), lenet.load(run.short)
    names = np.array(champion.classes)[labels]
    assert list(champion.predict(images)) == list(names)
    assert set(blind.predict(images)) == set(names) - {champion.classes[3]}
    probabilities = blind.probabilities(images)
    assert probabilities.shape == (100, 10)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(blind.probabilities(images.reshape(100, 28, 28)), probabilities)  # without its one channel


def test_images_of_another_shape_or_type_are_refused(showcase: Showcase) -> None:
    model = lenet.load(showcase.run().short, showcase.project.root / "conf")
    for images in (np.zeros((2, 1, 32, 32), np.uint8), np.zeros((2, 3, 28, 28), np.uint8), np.zeros((2, 1, 28, 28))):
        with pytest.raises(ValueError, match="n × 1 × 28 × 28"):
            model.predict(images)


def test_damaged_weights_an_unknown_name_and_no_project_are_refused(showcase: Showcase, tmp_path: Path) -> None:
    run = showcase.run()
    flip(run.path / "weights.safetensors")
    for name in (run.short, "@champion", "abc"):
        with pytest.raises(LenetError):
            lenet.load(name, showcase.project.root)
    with pytest.raises(LenetError, match="not inside a LeNet Lab project"):
        lenet.load("@champion", tmp_path)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lenet.config.schema import Config
from lenet.models.classifier import Classifier, PadAndNormalize
from lenet.models.lenet5 import LeNet5

MEAN, DEVIATION = 0.1307, 0.3081
SIZE = (32, 32)


def test_a_digit_is_centred_and_normalised() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), dtype=np.uint8))
    found = PadAndNormalize([MEAN], [DEVIATION], SIZE)(images)
    padded = np.zeros((3, 1, 32, 32))
    padded[..., 2:30, 2:30] = images.numpy()
    expected = (padded / 255 - MEAN) / DEVIATION
    assert (found.shape, found.dtype) == ((3, 1, 32, 32), torch.float32)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_margin_is_background_and_not_zero() -> None:
    corner = PadAndNormalize([MEAN], [DEVIATION], SIZE)(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))[0, 0, 0, 0]
    assert float(corner) == pytest.approx(-MEAN / DEVIATION, rel=1e-5)


def test_a_window_of_the_fields_size_is_only_normalised() -> None:
    field = PadAndNormalize([MEAN], [DEVIATION], SIZE)
    digit = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    window = torch.nn.functional.pad(digit, (2, 2, 2, 2))
    assert torch.equal(field(window), field(digit))


def test_mean_and_deviation_are_saved_and_loaded() -> None:
    state = PadAndNormalize([MEAN], [DEVIATION], SIZE).state_dict()
    assert set(state) == {"mean", "deviation"}
    other = PadAndNormalize([0.0], [1.0], SIZE)
    other.load_state_dict(state)
    digit = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    assert torch.equal(other(digit), PadAndNormalize([MEAN], [DEVIATION], SIZE)(digit))
    assert not list(other.parameters())


def test_a_reader_maps_bytes_to_logits(make_config: Callable[..., Config]) -> None:
    torch.manual_seed(0)
    network = LeNet5(make_config().model, (1, 28, 28), 10)
    reader = Classifier(PadAndNormalize([MEAN], [DEVIATION], SIZE), network, (1, 28, 28)).eval()
    digits = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    logits = reader(digits)
    assert (logits.shape, logits.dtype) == ((5, 10), torch.float32)
    assert torch.equal(logits, network(PadAndNormalize([MEAN], [DEVIATION], SIZE)(digits)))
    assert {"field.mean", "field.deviation", "network.c1.0.weight"} <= set(reader.state_dict())


def test_each_channel_has_its_own_mean_and_deviation_and_odd_margins_go_right_and_down() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 5, 6), dtype=np.uint8))
    means, deviations = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    found = PadAndNormalize(means, deviations, (8, 9))(images)
    padded = np.zeros((2, 3, 8, 9))
    padded[..., 1:6, 1:7] = images.numpy()
    expected = (padded / 255 - np.array(means).reshape(3, 1, 1)) / np.array(deviations).reshape(3, 1, 1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lenet.config.schema import Config
from lenet.models.lenet5 import build_network
from lenet.models.preprocessing import Classifier, PadAndNormalize

MEAN, DEVIATION = 0.1307, 0.3081


def test_a_digit_is_centred_and_normalised() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8))
    found = PadAndNormalize(MEAN, DEVIATION)(images)
    padded = np.zeros((3, 1, 32, 32))
    padded[:, 0, 2:30, 2:30] = images.numpy()
    expected = (padded / 255 - MEAN) / DEVIATION
    assert (found.shape, found.dtype) == ((3, 1, 32, 32), torch.float32)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_margin_is_background_and_not_zero() -> None:
    corner = PadAndNormalize(MEAN, DEVIATION)(torch.zeros(1, 28, 28, dtype=torch.uint8))[0, 0, 0, 0]
    assert float(corner) == pytest.approx(-MEAN / DEVIATION, rel=1e-5)


def test_a_window_of_the_fields_size_is_only_normalised() -> None:
    field = PadAndNormalize(MEAN, DEVIATION)
    digit = torch.randint(0, 256, (2, 28, 28), dtype=torch.uint8)
    window = torch.nn.functional.pad(digit, (2, 2, 2, 2))
    assert torch.equal(field(window), field(digit))


def test_mean_and_deviation_are_saved_and_loaded() -> None:
    state = PadAndNormalize(MEAN, DEVIATION).state_dict()
    assert set(state) == {"mean", "deviation"}
    other = PadAndNormalize(0.0, 1.0)
    other.load_state_dict(state)
    digit = torch.randint(0, 256, (2, 28, 28), dtype=torch.uint8)
    assert torch.equal(other(digit), PadAndNormalize(MEAN, DEVIATION)(digit))
    assert not list(other.parameters())


def test_a_reader_maps_bytes_to_logits(make_config: Callable[..., Config]) -> None:
    torch.manual_seed(0)
    network = build_network(make_config().model, 10)
    reader = Classifier(PadAndNormalize(MEAN, DEVIATION), network).eval()
    digits = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    logits = reader(digits)
    assert (logits.shape, logits.dtype) == ((5, 10), torch.float32)
    assert torch.equal(logits, network(PadAndNormalize(MEAN, DEVIATION)(digits)))
    assert {"field.mean", "field.deviation", "network.c1.0.weight"} <= set(reader.state_dict())

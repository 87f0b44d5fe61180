from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from lenet.config.schema import Config
from lenet.models.layers import ACTIVATIONS, GAINS, POOLINGS, ScaledTanh, initialize, normalization
from lenet.models.lenet5_config import LeNet5Config

MakeConfig = Callable[..., Config]
NAMES = get_type_hints(LeNet5Config)


def test_scaled_tanh_passes_through_plus_and_minus_one() -> None:
    found = ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    torch.testing.assert_close(found, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), rtol=0, atol=2e-5)


def test_scaled_tanh_is_the_papers_function() -> None:
    inputs = torch.linspace(-4, 4, 17, dtype=torch.float64)
    expected = torch.tensor([1.7159 * math.tanh(2 * float(x) / 3) for x in inputs], dtype=torch.float64)
    torch.testing.assert_close(ScaledTanh()(inputs), expected)


def test_the_tables_have_every_name_that_the_config_allows() -> None:
    assert set(ACTIVATIONS) == set(get_args(NAMES["activation"])) == set(GAINS)
    assert set(POOLINGS) == set(get_args(NAMES["pooling"]))


def test_activations_are_what_they_are_called() -> None:
    one = torch.tensor([-1.0, 0.5, 2.0])
    expected = {
        "tanh": torch.tanh(one),
        "sigmoid": 1 / (1 + torch.exp(-one)),
        "relu": torch.tensor([0.0, 0.5, 2.0]),
        "gelu": one * (1 + torch.erf(one / math.sqrt(2))) / 2,
        "silu": one / (1 + torch.exp(-one)),
    }
    for name, values in expected.items():
        torch.testing.assert_close(ACTIVATIONS[name]()(one), values)


def test_poolings_take_the_mean_or_the_largest_of_two_by_two() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert POOLINGS["average"]()(image).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert POOLINGS["max"]()(image).flatten().tolist() == [5.0, 7.0, 13.0, 15.0]


def test_normalisation() -> None:
    assert normalization("none", 6) == []
    (layer,) = normalization("batch", 6)
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.num_features == 6


BOUNDS = {
    # of a layer with fan-in 400 and fan-out 120
    ("xavier", "tanh"): 5 / 3 * math.sqrt(6 / 520),
    ("xavier", "scaled_tanh"): math.sqrt(6 / 520),
    ("xavier", "sigmoid"): 4 * math.sqrt(6 / 520),
    ("xavier", "relu"): math.sqrt(2) * math.sqrt(6 / 520),
    ("kaiming", "relu"): math.sqrt(6 / 400),
    ("fan_in", "tanh"): 2.4 / 400,
}


@pytest.mark.parametrize(("kind", "activation"), BOUNDS)
def test_initial_weights_fill_their_range_and_biases_are_zero(
    make_config: MakeConfig, kind: str, activation: str
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(400, 120)
    initialize(nn.Sequential(layer), make_config(model__initialization=kind, model__activation=activation).model)
    bound = BOUNDS[kind, activation]
    largest = float(layer.weight.detach().abs().max())
    assert 0.999 * bound < largest <= bound * (1 + 1e-6)
    assert float(layer.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert abs(float(layer.weight.detach().mean())) < 0.01 * bound
    assert not layer.bias.any()


def test_fan_in_of_a_convolution_counts_its_whole_window(make_config: MakeConfig) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 16, 5)
    initialize(layer, make_config(model__initialization="fan_in").model)
    assert 0.99 * 2.4 / 150 < float(layer.weight.detach().abs().max()) <= 2.4 / 150 * (1 + 1e-6)


def test_batch_normalisation_starts_as_the_identity(make_config: MakeConfig) -> None:
    layer = nn.BatchNorm2d(6)
    initialize(layer, make_config().model)
    assert layer.weight.tolist() == [1.0] * 6
    assert layer.bias.tolist() == [0.0] * 6

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lenet.config.schema import Config
from lenet.models.layers import ACTIVATIONS
from lenet.models.lenet5 import INPUT_SIZE, LeNet5

# The paper's count of each layer, where the textbook network agrees with it (F5 is the paper's C5).
PARAMETERS = {"c1": 156, "s2": 0, "c3": 2_416, "s4": 0, "f5": 48_120, "f6": 10_164, "output": 850}
SHAPES = {
    "c1": (6, 28, 28),
    "s2": (6, 14, 14),
    "c3": (16, 10, 10),
    "s4": (16, 5, 5),
    "f5": (120,),
    "f6": (84,),
    "output": (10,),
}

MakeConfig = Callable[..., Config]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_parameters_layer_by_layer(make_config: MakeConfig, pooling: str) -> None:
    network = LeNet5(make_config(model__pooling=pooling).model, (1, 28, 28), 10)
    assert {name: count(layer) for name, layer in network.named_children()} == PARAMETERS
    assert count(network) == 61_706
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_its_weights_are_drawn_as_the_config_says(make_config: MakeConfig) -> None:
    torch.manual_seed(1)
    network = LeNet5(make_config(model__initialization="fan_in").model, (1, 28, 28), 10)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = 2.4 / layer.weight[0].numel()  # LeCun et al. 1998, Section III: uniform in ±2.4/fan-in
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound
            assert not layer.bias.any()


def test_batch_normalisation_adds_44(make_config: MakeConfig) -> None:
    network = LeNet5(make_config(model__normalization="batch").model, (1, 28, 28), 10)
    added = {"c1": 12, "c3": 32}
    found = {name: count(layer) for name, layer in network.named_children()}
    assert found == {name: size + added.get(name, 0) for name, size in PARAMETERS.items()}
    assert count(network) == 61_706 + 44


def test_other_numbers_of_classes_change_the_output_alone(make_config: MakeConfig) -> None:
    network = LeNet5(make_config().model, (1, 28, 28), 26)
    found = {name: count(layer) for name, layer in network.named_children()}
    assert found == PARAMETERS | {"output": 26 * 85}
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 26)


def test_output_shapes_layer_by_layer(make_config: MakeConfig) -> None:
    network = LeNet5(make_config().model, (1, 28, 28), 10)
    seen: dict[str, tuple[int, ...]] = {}
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: tuple(out.shape[1:])}))
    assert network(torch.zeros(3, 1, INPUT_SIZE, INPUT_SIZE)).shape == (3, 10)
    assert seen == SHAPES
    assert list(seen) == list(SHAPES)


def test_the_order_within_a_convolution_is_convolution_normalisation_activation(make_config: MakeConfig) -> None:
    network = LeNet5(make_config(model__normalization="batch", model__activation="relu").model, (1, 28, 28), 10)
    assert isinstance(network, LeNet5)
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert [type(layer) for layer in network.c1] == kinds
    assert [type(layer) for layer in network.c3] == kinds


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_computes_what_the_layers_say(make_config: MakeConfig, activation: str, pooling: str) -> None:
    torch.manual_seed(0)
    network = LeNet5(make_config(model__activation=activation, model__pooling=pooling).model, (1, 28, 28), 10).eval()
    state = network.state_dict()
    images = torch.randn(2, 1, 32, 32)
    squash = ACTIVATIONS[activation]()
    pool = nn.functional.avg_pool2d if pooling == "average" else nn.functional.max_pool2d
    maps = pool(squash(nn.functional.conv2d(images, state["c1.0.weight"], state["c1.0.bias"])), 2)
    maps = pool(squash(nn.functional.conv2d(maps, state["c3.0.weight"], state["c3.0.bias"])), 2)
    units = squash(maps.flatten(1) @ state["f5.1.weight"].T + state["f5.1.bias"])
    units = squash(units @ state["f6.0.weight"].T + state["f6.0.bias"])
    expected = units @ state["output.weight"].T + state["output.bias"]
    torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5)


def test_the_same_seed_draws_the_same_weights(make_config: MakeConfig) -> None:
    def drawn(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return LeNet5(make_config().model, (1, 28, 28), 10).state_dict()

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["c1.0.weight"], other["c1.0.weight"])


def test_gradients_reach_every_weight(make_config: MakeConfig) -> None:
    torch.manual_seed(0)
    network = LeNet5(make_config(model__normalization="batch").model, (1, 28, 28), 10)
    network(torch.randn(4, 1, 32, 32)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize(
    ("shape", "size", "maps"),
    [
        ((1, 28, 28), (32, 32), 16 * 5 * 5),
        ((3, 32, 32), (32, 32), 16 * 5 * 5),
        ((3, 8, 40), (32, 40), 16 * 5 * 7),
        ((1, 33, 64), (36, 64), 16 * 6 * 13),
    ],
)
def test_other_images_widen_the_input_as_far_as_they_need(
    make_config: MakeConfig, shape: tuple[int, int, int], size: tuple[int, int], maps: int
) -> None:
    network = LeNet5(make_config().model, shape, 7)
    assert network.input_size == size
    assert network.f5[1].in_features == maps
    assert network(torch.zeros(2, shape[0], *size)).shape == (2, 7)

"""The network of the paper against the paper's own figures (LeCun et al. 1998, Section II-B and Fig. 3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from lenet.core.errors import ConfigError
from lenet.models.lenet5_1998 import BACKGROUND, INK, LeNet5Of1998, bitmaps
from lenet.models.lenet5_1998_config import LeNet5Of1998Config

PAPER = LeNet5Of1998Config(
    "lenet5_1998", "sparse", "trainable", "scaled_tanh", "rbf", "rbf_mean", 0.0, "fan_in_root", "paper"
)
TEXTBOOK = replace(PAPER, connections="full", subsampling="average", output="linear", loss="cross_entropy")
IMAGE = (1, 28, 28)


def parameters(layer: nn.Module) -> int:
    return sum(one.numel() for one in layer.parameters())


def test_parameters_and_connections_are_those_of_the_paper() -> None:
    network = LeNet5Of1998(PAPER, IMAGE, 10)
    layers = {name: parameters(layer) for name, layer in network.named_children()}
    assert layers == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164, "output": 0}
    assert parameters(network) == 60_000
    maps = {"c1": 28 * 28, "s2": 14 * 14, "c3": 10 * 10, "s4": 5 * 5, "c5": 1, "f6": 1}
    # A unit of S2 or S4 adds up four inputs with one coefficient: five connections with its bias, two parameters.
    connections = {
        name: count * maps[name] * (5 if name in {"s2", "s4"} else 2) // 2
        for name, count in layers.items()
        if name != "output"
    }
    assert connections == {"c1": 122_304, "s2": 5_880, "c3": 151_600, "s4": 2_000, "c5": 48_120, "f6": 10_164}
    assert sum(connections.values()) + 10 * 84 == 340_908


def test_the_textbook_knobs_give_the_textbook_network() -> None:
    assert parameters(LeNet5Of1998(TEXTBOOK, IMAGE, 10)) == 61_706


def test_the_bitmaps_are_those_of_figure_3() -> None:
    centres = bitmaps()
    assert centres.shape == (10, 84)
    assert set(centres.flatten().tolist()) == {-1.0, 1.0}
    distances = torch.cdist(centres, centres).square().round()
    distances.fill_diagonal_(1000)
    assert (int(distances.min()), divmod(int(distances.argmin()), 10)) == (48, (6, 8))


def test_an_output_is_a_distance_with_a_minus_and_the_bitmap_itself_has_none() -> None:
    network = LeNet5Of1998(PAPER, IMAGE, 10)
    logits = network.output(bitmaps())
    assert torch.equal(logits.diagonal(), torch.zeros(10))
    assert logits.argmax(1).tolist() == list(range(10))
    assert float(logits[6, 8]) == -48


def test_initial_weights_are_within_the_fan_in_and_fill_it() -> None:
    torch.manual_seed(1)
    network = LeNet5Of1998(PAPER, IMAGE, 10)
    c3, c5 = network.c3[0].weight, network.c5[1].weight
    for weight, fan_in in ((network.c1[0].weight, 25), (c3[:3], 75), (c3[-6:], 150), (c5, 400)):
        assert 0.8 < float(weight.detach().abs().max()) * fan_in**0.5 / 2.4 <= 1
    assert float(network.s2.scale.detach().abs().max()) <= 2.4 / 2
    assert not network.c5[1].bias.any()


def test_the_papers_scale_of_pixels() -> None:
    network = LeNet5Of1998(PAPER, IMAGE, 10)
    assert network.pixel_statistics is not None
    mean, deviation = network.pixel_statistics
    assert ((0 - mean) / deviation, (1 - mean) / deviation) == pytest.approx((BACKGROUND, INK))
    assert LeNet5Of1998(replace(PAPER, input_scale="standard"), IMAGE, 10).pixel_statistics is None


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [((3, 28, 28), 10, "takes grey images"), ((1, 64, 64), 10, "takes grey images"), (IMAGE, 26, "bitmaps of ten")],
)
def test_images_that_it_cannot_take_are_one_line(shape: tuple[int, int, int], classes: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LeNet5Of1998(PAPER, shape, classes)


def test_a_loss_of_distances_needs_distances() -> None:
    with pytest.raises(ConfigError, match=r"^model\.loss=rbf_mean: .*needs model\.loss=cross_entropy$"):
        replace(PAPER, output="linear")

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from lenet.config.schema import Config
from lenet.evaluation.latency import (
    MIN_REPEATS,
    WARM_UP_CALLS,
    count_parameters,
    count_weight_bytes,
    measure_latency,
)
from lenet.models.classifier import Classifier, build_classifier


class Asleep(nn.Module):
    """Takes so many milliseconds an image, but the first calls, which take longer, and looks at what it is given."""

    image_shape = (3, 5, 4)

    def __init__(self, milliseconds: float) -> None:
        super().__init__()
        self.milliseconds = milliseconds
        self.calls: list[tuple[torch.Size, torch.dtype, bool, bool, int]] = []

    def __deepcopy__(self, memo: dict[int, object]) -> Asleep:
        return self

    def forward(self, images: Tensor) -> Tensor:
        grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
        self.calls.append((images.shape, images.dtype, self.training, grad or gc.isenabled(), threads))
        time.sleep((self.milliseconds * len(images) + 20 * (len(self.calls) <= WARM_UP_CALLS)) / 1000)
        return images


def reader(make_config: Callable[..., Config], normalization: str = "none") -> Classifier:
    config = make_config(model__normalization=normalization)
    return build_classifier(config, [0.13], [0.31])


def test_milliseconds_of_a_call_without_its_warm_up() -> None:
    found = measure_latency(Asleep(4), images=2)
    assert found.images == 2
    assert 8 <= found.lower_quartile_ms <= found.median_ms <= found.upper_quartile_ms
    assert found.median_ms < 20
    assert found.repeats == MIN_REPEATS  # 20 calls of 8 ms are all that SECONDS allow


def test_bytes_of_images_on_one_thread_in_evaluation_mode() -> None:
    network, threads = Asleep(0.01), torch.get_num_threads()
    found = measure_latency(network, images=3)
    assert len(network.calls) == WARM_UP_CALLS + found.repeats
    assert set(network.calls) == {(torch.Size([3, 3, 5, 4]), torch.uint8, False, False, 1)}
    assert (torch.get_num_threads(), gc.isenabled()) == (threads, True)


class Broken(Asleep):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("no such layer")


def test_a_network_that_fails_leaves_threads_and_collection_as_they_were() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError):
        measure_latency(Broken(0))
    assert (torch.get_num_threads(), gc.isenabled()) == (threads, True)


def test_the_network_stays_as_it_is(make_config: Callable[..., Config]) -> None:
    trained = reader(make_config, "batch").train()
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    assert 0 < measure_latency(trained).median_ms < 1000
    assert trained.training
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.state_dict().items())


def test_parameters_of_the_textbook_network_and_of_its_batch_normalisation(make_config: Callable[..., Config]) -> None:
    assert count_parameters(reader(make_config)) == 61_706
    assert count_parameters(reader(make_config, "batch")) == 61_706 + 44


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_bytes_are_those_of_the_weights_file_less_its_header(
    make_config: Callable[..., Config], normalization: str
) -> None:
    trained = reader(make_config, normalization)
    content = save(trained.state_dict())
    header = 8 + int.from_bytes(content[:8], "little")
    assert count_weight_bytes(trained) == len(content) - header
    assert count_weight_bytes(trained) == sum(tensor.nbytes for tensor in load(content).values())


def test_no_image_is_refused(make_config: Callable[..., Config]) -> None:
    with pytest.raises(ValueError, match="0 images"):
        measure_latency(reader(make_config), images=0)

"""The fused kernel against float64 autograd and torch's optimizers, and its bits over levels and threads."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lenet.config.schema import AdamConfig, ConstantConfig, Optimizer, SgdConfig
from lenet.data.augment import RandomShift
from lenet.kernels.fused import ACTIVATIONS, POOLINGS, FusedLeNet5
from lenet.kernels.levels import COMPILER
from lenet.kernels.library import LEVEL_VARIABLE, suitable_levels
from lenet.kernels.structures import optimizer_state
from lenet.models.classifier import Classifier, PadAndNormalize
from lenet.models.lenet5 import LeNet5
from lenet.models.lenet5_config import LeNet5Config
from lenet.training.optimizers import build_optimizer

SUITABLE = suitable_levels()
"""Levels of this processor: their compiled kernels must be there, or the installation failed unnoticed."""

pytestmark = pytest.mark.skipif(not SUITABLE, reason="no level is for this processor")

ROOT = Path(__file__).parents[2]
MEAN, DEVIATION = 0.25, 0.5
SHIFT = 1
TOLERANCE = 1e-5
"""Of a gradient, relative to the largest of its layer."""

CONSTANT = ConstantConfig("constant")
ADAM = AdamConfig("adam", 0.003, 0.9, 0.99, 0.0, 0.0, CONSTANT)


@dataclass
class Batch:
    """Noise in place of digits: no two units of a pooling window are as good as equal."""

    images: Tensor
    labels: Tensor
    order: Tensor
    offsets: Tensor


def batch(count: int, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count + 7, 1, 28, 28), generator=draw, dtype=torch.uint8)
    order = torch.randperm(count + 7, generator=draw)[:count]
    offsets = torch.randint(0, 2 * SHIFT + 1, (count, 2), generator=draw)
    return Batch(images, torch.randint(0, 10, (count,), generator=draw), order, offsets)


def knobs(activation: str, pooling: str, normalization: str) -> LeNet5Config:
    return LeNet5Config("lenet5", activation, pooling, normalization, "xavier")  # type: ignore[arg-type]


def classifier_of(model: LeNet5Config, seed: int = 1) -> Classifier:
    torch.manual_seed(seed)
    network = LeNet5(model, (1, 28, 28), 10)
    return Classifier(PadAndNormalize([MEAN], [DEVIATION], network.input_size), network, (1, 28, 28))


def train(
    fused: FusedLeNet5,
    data: Batch,
    optimizer: Optimizer,
    rates: list[float],
    state: dict[str, Tensor],
    batch_size: int,
    accumulate: int = 1,
    clip: float | None = None,
) -> tuple[float, Tensor]:
    shown = (data.images, data.labels, data.order, data.offsets)
    return fused.train(*shown, SHIFT, batch_size, accumulate, rates, optimizer, clip, state)


def windows(data: Batch) -> Tensor:
    return RandomShift(data.images, (32, 32), SHIFT).cut(data.order, data.offsets)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("activation", "pooling", "normalization"), list(itertools.product(ACTIVATIONS, POOLINGS, ("none", "batch")))
)
def test_gradients_are_those_of_autograd_in_float64(
    activation: str, pooling: str, normalization: str, smoothing: float
) -> None:
    model, data = knobs(activation, pooling, normalization), batch(45)
    exact = classifier_of(model)
    fused = FusedLeNet5(classifier_of(model))
    settings = SgdConfig("sgd", 1.0, 0.9, False, 0.0, smoothing, CONSTANT)
    state = optimizer_state(settings, fused.weights)
    loss, answers = train(fused, data, settings, [1e-9], state, batch_size=45)  # its momentum is the gradient
    pixels = exact.field(windows(data)).double()
    logits = exact.network.double()(pixels)
    expected = functional.cross_entropy(logits, data.labels, label_smoothing=smoothing)
    expected.backward()
    assert loss / 45 == pytest.approx(float(expected), abs=1e-6)
    assert torch.equal(answers, logits.argmax(1))
    sizes = [one.numel() for one in exact.network.parameters()]
    found = state["momentum_buffer"].split(sizes)
    for (name, one), gradient in zip(exact.network.named_parameters(), found, strict=True):
        if normalization == "batch" and name in {"c1.0.bias", "c3.0.bias"}:
            assert gradient.abs().max() < 1e-5  # a normalisation takes every bias away
            continue
        assert one.grad is not None
        difference = (gradient.double() - one.grad.reshape(-1)).abs().max() / one.grad.abs().max()
        assert float(difference) < TOLERANCE, name


def test_running_statistics_and_logits_are_those_of_torch() -> None:
    model, data = knobs("relu", "max", "batch"), batch(45)
    ours, theirs = classifier_of(model), classifier_of(model)
    fused = FusedLeNet5(ours)
    settings = SgdConfig("sgd", 1.0, 0.0, False, 0.0, 0.0, CONSTANT)
    train(fused, data, settings, [1e-9], optimizer_state(settings, fused.weights), batch_size=45)
    theirs.train()(windows(data))
    for name, value in theirs.network.named_buffers():
        torch.testing.assert_close(ours.network.get_buffer(name), value, rtol=1e-5, atol=1e-6)
    logits, loss = fused.read(data.images, torch.zeros(len(data.images), dtype=torch.int64))
    expected = theirs.eval()(data.images)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert loss == pytest.approx(
        float(functional.cross_entropy(expected, torch.zeros(52, dtype=torch.int64))) * 52, 1e-4
    )


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize(
    "settings",
    [
        SgdConfig("sgd", 0.05, 0.0, False, 0.01, 0.0, CONSTANT),
        SgdConfig("sgd", 0.05, 0.9, False, 0.01, 0.05, CONSTANT),
        SgdConfig("sgd", 0.05, 0.9, True, 0.0, 0.0, CONSTANT),
        AdamConfig("adam", 0.003, 0.9, 0.99, 0.01, 0.05, CONSTANT),
        AdamConfig("adamw", 0.003, 0.8, 0.999, 0.1, 0.0, CONSTANT),
    ],
)
def test_steps_are_those_of_torchs_optimizers(settings: Optimizer, clip: float | None) -> None:
    model, data = knobs("tanh", "average", "none"), batch(100)
    ours, theirs = classifier_of(model), classifier_of(model).double()
    fused = FusedLeNet5(ours)
    fused.bind()
    state = optimizer_state(settings, fused.weights)
    rates = [settings.learning_rate * factor for factor in (1.0, 0.5, 0.25, 1.0)]  # three of 32 images, one of 4
    train(fused, data, settings, rates, state, batch_size=16, accumulate=2, clip=clip)
    optimizer = build_optimizer(settings, theirs.network.parameters())
    shown = classifier_of(model).field(windows(data)).double()
    for rate, images, labels in zip(rates, shown.split(32), data.labels.split(32), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        functional.cross_entropy(theirs.network(images), labels, label_smoothing=settings.label_smoothing).backward()
        if clip is not None:
            assert torch.nn.utils.clip_grad_norm_(theirs.network.parameters(), clip) > clip
        optimizer.step()
    assert int(state["step"]) == 4
    for name, value in theirs.network.named_parameters():
        torch.testing.assert_close(ours.network.get_parameter(name).double(), value, rtol=1e-3, atol=2e-5)


PROGRAM = """
import hashlib, sys, torch
sys.path.insert(0, sys.argv[1])
from test_fused import ADAM, FusedLeNet5, batch, classifier_of, knobs, optimizer_state, train
for choice in (("tanh", "average", "none"), ("relu", "max", "batch"), ("gelu", "max", "none")):
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        model = knobs(*choice)
        classifier = classifier_of(model)
        fused = FusedLeNet5(classifier)
        state = optimizer_state(ADAM, fused.weights)
        for seed in range(3):
            loss, _ = train(fused, batch(500, seed), ADAM, [0.003] * 5, state, batch_size=100)
        logits, _ = fused.read(batch(100).images)
        content = [fused.weights.detach(), logits, *(one.double() for one in classifier.network.buffers())]
        print(*choice, hashlib.sha256(b"".join(one.numpy().tobytes() for one in content)).hexdigest(), loss)
"""


def test_every_level_and_number_of_threads_gives_the_same_bits() -> None:
    found = set()
    for level in SUITABLE:
        environment = os.environ | {LEVEL_VARIABLE: level.name}
        command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found |= set(done.stdout.splitlines())
    assert len(found) == 3, sorted(found)  # one line for each network


@pytest.mark.parametrize("batch_size", [32, 16])
def test_a_weight_that_is_not_finite_is_reported(batch_size: int) -> None:
    """One step leaves a loss that is finite, and weights that are not."""
    model, data = knobs("relu", "max", "none"), batch(32)
    fused = FusedLeNet5(classifier_of(model))
    settings = SgdConfig("sgd", 1.0, 0.0, False, 10.0, 0.0, CONSTANT)
    rates = [3e38] * (32 // batch_size)
    loss, _ = train(fused, data, settings, rates, optimizer_state(settings, fused.weights), batch_size)
    assert not fused.weights.isfinite().all()
    assert not math.isfinite(loss)


def test_the_compiler_is_the_one_that_the_build_requires() -> None:
    assert f'"{COMPILER}"' in (ROOT / "pyproject.toml").read_text()


def test_of_equal_units_one_alone_has_the_maximums_gradient() -> None:
    model, data = knobs("tanh", "max", "none"), batch(20)
    data.images.zero_()  # every unit of a map is the same
    exact, fused = classifier_of(model), FusedLeNet5(classifier_of(model))
    settings = SgdConfig("sgd", 1.0, 0.9, False, 0.0, 0.0, CONSTANT)
    state = optimizer_state(settings, fused.weights)
    train(fused, data, settings, [1e-9], state, batch_size=20)
    logits = exact.network.double()(exact.field(windows(data)).double())
    functional.cross_entropy(logits, data.labels).backward()
    found = state["momentum_buffer"][: exact.network.c1[0].weight.numel()].double()
    torch.testing.assert_close(found, exact.network.c1[0].weight.grad.reshape(-1), rtol=1e-4, atol=1e-8)

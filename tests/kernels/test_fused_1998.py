"""The kernel of 1998's network against autograd in float64, and its second derivatives against other ways to them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lenet.config.schema import AdamConfig, ConstantConfig, SdlmConfig, SgdConfig
from lenet.kernels.fused_1998 import FusedLeNet5Of1998, Shown
from lenet.kernels.library import LEVEL_VARIABLE, Kernel, load_kernel, suitable_levels
from lenet.models.classifier import Classifier, PadAndNormalize
from lenet.models.lenet5_1998 import LeNet5Of1998, PartialConvolution, TrainableSubsampling
from lenet.models.lenet5_1998_config import LeNet5Of1998Config
from lenet.training.losses import rbf_map, rbf_mean

pytestmark = pytest.mark.skipif(not isinstance(load_kernel(), Kernel), reason="there is no fused kernel here")

PAPER = LeNet5Of1998Config(
    "lenet5_1998", "sparse", "trainable", "scaled_tanh", "rbf", "rbf_mean", 0.0, "fan_in_root", "paper"
)
LINEAR = replace(PAPER, output="linear", loss="cross_entropy")
CONSTANT = ConstantConfig("constant")
GRADIENT = SgdConfig("sgd", 1.0, 0.0, False, 0.0, 0.0, CONSTANT)
"""A step of rate 1 takes the gradient away from the weights."""

IMAGES, SHIFT = 6, 1
VARIANTS = [
    replace(base, connections=connections, subsampling=subsampling, activation=activation)
    for base, connections, subsampling, activation in itertools.product(
        (PAPER, LINEAR), ("sparse", "full"), ("trainable", "average", "max"), ("scaled_tanh", "tanh", "sigmoid", "relu")
    )
]


def classifier_of(model: LeNet5Of1998Config, seed: int = 3) -> Classifier:
    torch.manual_seed(seed)
    network = LeNet5Of1998(model, (1, 28, 28), 10)
    with torch.no_grad():
        for weight in network.parameters():  # biases, too, are to differ from 0
            weight.add_(0.05 * torch.randn_like(weight))
    return Classifier(PadAndNormalize([0.13], [0.31], (32, 32)), network, (1, 28, 28))


def shown(count: int = IMAGES, seed: int = 5) -> Shown:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count + 3, 1, 28, 28), generator=generator, dtype=torch.uint8)
    order = torch.randperm(count + 3, generator=generator)[:count]
    labels = torch.randint(0, 10, (count,), generator=generator)
    return Shown(images, labels, order, torch.randint(0, 2 * SHIFT + 1, (count, 2), generator=generator), SHIFT)


def pixels(classifier: Classifier, of: Shown) -> Tensor:
    """What the network sees, in float64 [n, 1, 32, 32]."""
    padded = functional.pad(of.images[of.order], (2 + SHIFT,) * 4)
    cut = [image[:, y : y + 32, x : x + 32] for image, (y, x) in zip(padded, of.offsets.tolist(), strict=True)]
    return classifier.field.normalize(torch.stack(cut).float()).double()


def loss_of(model: LeNet5Of1998Config, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    if model.loss == "rbf_mean":
        return rbf_mean(logits, labels)
    if model.loss == "rbf_map":
        return rbf_map(logits, labels, model.penalty)
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def step_of(fused: FusedLeNet5Of1998, of: Shown, optimizer: Any, steps: int = 1, clip: float | None = None) -> float:
    state = fused.optimizer_state(optimizer)
    loss, _ = fused.train(of, -(-len(of.order) // steps), [optimizer.learning_rate] * steps, optimizer, clip, state)
    return loss


def assert_gradient(model: LeNet5Of1998Config, smoothing: float = 0.0) -> None:
    classifier, of = classifier_of(model), shown()
    reference = classifier_of(model).network.double()
    fused = FusedLeNet5Of1998(classifier)
    before = fused.weights.clone()
    loss = step_of(fused, of, replace(GRADIENT, label_smoothing=smoothing))
    logits = reference(pixels(classifier, of))
    expected = loss_of(model, logits, of.labels, smoothing)
    expected.backward()
    wanted = torch.cat([weight.grad.reshape(-1) for weight in reference.parameters() if weight.grad is not None])
    assert loss / IMAGES == pytest.approx(expected.item(), rel=2e-6)
    error = (before.double() - fused.weights.double() - wanted).norm() / wanted.norm()
    assert float(error) < 1e-5


@pytest.mark.parametrize("model", VARIANTS, ids=lambda m: f"{m.output}-{m.connections}-{m.subsampling}-{m.activation}")
def test_gradients_are_those_of_autograd_in_float64(model: LeNet5Of1998Config) -> None:
    assert_gradient(model)


@pytest.mark.parametrize("penalty", [0.0, 3.0, 500.0])
def test_gradients_of_the_map_loss(penalty: float) -> None:
    assert_gradient(replace(PAPER, loss="rbf_map", penalty=penalty))


def test_gradients_of_smoothed_labels_and_of_cross_entropy_of_distances() -> None:
    assert_gradient(LINEAR, smoothing=0.1)
    assert_gradient(replace(PAPER, loss="cross_entropy"))


def test_logits_are_those_of_torch() -> None:
    for model in (PAPER, LINEAR):
        classifier, images = classifier_of(model), shown().images
        logits, loss = FusedLeNet5Of1998(classifier).read(images, torch.zeros(len(images), dtype=torch.long))
        with torch.inference_mode():
            expected = classifier(images)
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-4)
        assert loss == pytest.approx(float(-expected.log_softmax(1)[:, 0].sum()), rel=1e-5, abs=1e-5)


def squares_backward(model: LeNet5Of1998Config, reference: LeNet5Of1998, images: Tensor, labels: Tensor) -> Tensor:
    """The second derivatives of Appendix C, layer by layer in float64, by unfolding and transposed convolution."""
    total = [torch.zeros_like(weight) for weight in reference.parameters()]
    for image, label in zip(images, labels, strict=True):
        modules = [reference.c1, reference.s2, reference.c3, reference.s4, reference.c5, reference.f6]
        outputs = [image[None]]
        for module in modules:
            outputs.append(module(outputs[-1]))
        h = second_at_f6(model, reference, outputs[-1], label)
        found: list[Tensor] = []
        if isinstance(reference.output, nn.Linear):
            second, h = h
            found = [second[:, None] * outputs[-1].square(), second]
        for module, before in zip(modules[::-1], outputs[-2::-1], strict=True):
            h, own = layer_back(module, before, h)
            found = [*own, *found]
        total = [a + b for a, b in zip(total, found, strict=True)]
    return torch.cat([one.reshape(-1) for one in total]) / len(images)


def second_at_f6(model: LeNet5Of1998Config, reference: LeNet5Of1998, f6: Tensor, label: Tensor) -> Any:
    if isinstance(reference.output, nn.Linear):
        p = reference.output(f6).softmax(1)[0]
        second = p * (1 - p)
        return second, second @ reference.output.weight.square()
    # Of the loss as a function of F6, whose second derivative is taken whole: by autograd.
    hessian = torch.autograd.functional.hessian(
        lambda units: loss_of(model, reference.output(units), label[None]), f6.detach()
    )
    return hessian.reshape(84, 84).diagonal()[None]


def layer_back(module: nn.Module, before: Tensor, h: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Second derivatives at a layer's input, and of its weights, from those at its output."""
    if isinstance(module, nn.AvgPool2d):
        return functional.interpolate(h.reshape(module(before).shape), scale_factor=2) / 16, []
    if isinstance(module, TrainableSubsampling):
        sums = functional.avg_pool2d(before, 2, divisor_override=1)
        inner = sums * module.scale[:, None, None] + module.bias[:, None, None]
        h = h.reshape(inner.shape) * slope(module.activation, inner).square()
        own = [(h * sums.square()).sum((0, 2, 3)), h.sum((0, 2, 3))]
        return functional.interpolate(h * module.scale.square()[:, None, None], scale_factor=2), own
    linear, activation = module[-2], module[-1]
    if isinstance(linear, nn.Linear):
        flat = before.reshape(1, -1)
        h = h.reshape(1, -1) * slope(activation, linear(flat)).square()
        return h @ linear.weight.square(), [h.T * flat.square(), h[0]]
    weight = linear.weight if isinstance(linear, nn.Conv2d) else whole_weight(linear)
    h = h.reshape(linear(before).shape) * slope(activation, linear(before)).square()
    patches = functional.unfold(before, 5).square()[0]  # [inputs · 25, places]
    own = (h[0].flatten(1) @ patches.T).reshape(weight.shape)
    if isinstance(linear, PartialConvolution):
        own = own[linear.target, linear.source]
    return functional.conv_transpose2d(h, weight.square()), [own, h.sum((0, 2, 3))]


def whole_weight(layer: PartialConvolution) -> Tensor:
    whole = torch.zeros(16, 6, 5, 5, dtype=layer.weight.dtype)
    whole[layer.target, layer.source] = layer.weight.detach()
    return whole


def slope(activation: nn.Module, inner: Tensor) -> Tensor:
    inner = inner.detach().requires_grad_()
    (found,) = torch.autograd.grad(activation(inner).sum(), inner)
    return found


@pytest.mark.parametrize(
    "model",
    [
        PAPER,
        replace(PAPER, loss="rbf_map", penalty=2.0),
        replace(PAPER, connections="full", subsampling="average", activation="tanh"),
        LINEAR,
    ],
    ids=["paper", "map", "full", "linear"],
)
def test_second_derivatives_are_those_of_appendix_c(model: LeNet5Of1998Config) -> None:
    classifier, of = classifier_of(model), shown()
    fused = FusedLeNet5Of1998(classifier)
    found = fused.in_order(fused.curvature(of))
    reference = classifier_of(model).network.double()
    expected = squares_backward(model, reference, pixels(classifier, of), of.labels)
    assert float((found.double() - expected).norm() / expected.norm()) < 1e-5
    assert float(found.min()) >= 0


def test_second_derivatives_of_f6_are_exactly_those_of_gauss_and_newton() -> None:
    classifier, of = classifier_of(PAPER), shown(1)
    fused = FusedLeNet5Of1998(classifier)
    found = fused.in_order(fused.curvature(of)).double()
    reference = classifier_of(PAPER).network.double()
    weight = reference.f6[0].weight
    maps = reference.s4(reference.c3(reference.s2(reference.c1(pixels(classifier, of)))))
    c5, (linear, activation) = reference.c5(maps).detach(), reference.f6
    jacobian = torch.autograd.functional.jacobian(
        lambda value: activation(functional.linear(c5, value, linear.bias)), weight.detach()
    )  # [1, 84, 84, 120]; the loss's second derivative at each of the 84 units is 2
    exact = 2 * jacobian[0].square().sum(0)
    torch.testing.assert_close(found[-84 - 84 * 120 : -84].reshape(84, 120), exact, rtol=1e-4, atol=1e-7)


def test_a_step_of_sdlm_divides_by_the_damped_second_derivative() -> None:
    classifier, of = classifier_of(PAPER), shown(1)
    settings = SdlmConfig("sdlm", 0.001, 0.02, 1, 0.0, CONSTANT)
    plain = FusedLeNet5Of1998(classifier_of(PAPER))
    before = plain.weights.clone()
    step_of(plain, of, GRADIENT)
    gradient = before - plain.weights
    fused = FusedLeNet5Of1998(classifier)
    curvature = fused.curvature(of)
    fused.train(of, 1, [0.001], settings, None, {"step": 0, "curvature": curvature})
    expected = -0.001 * gradient / (0.02 + fused.in_order(curvature))
    torch.testing.assert_close(fused.weights - before, expected, rtol=2e-3, atol=2e-7)


def test_missing_connections_stay_missing_with_momentum_and_adam() -> None:
    for optimizer in (
        SgdConfig("sgd", 0.01, 0.9, True, 0.01, 0.0, CONSTANT),
        AdamConfig("adamw", 0.01, 0.9, 0.99, 0.1, 0.0, CONSTANT),
    ):
        classifier = classifier_of(PAPER)
        fused = FusedLeNet5Of1998(classifier)
        fused.bind()
        step_of(fused, shown(), optimizer, steps=3, clip=0.5)
        images = shown().images
        with torch.inference_mode():  # torch builds C3 anew from the connections that there are
            torch.testing.assert_close(fused.read(images)[0], classifier(images), rtol=1e-4, atol=1e-3)


def test_weights_are_the_same_bits_on_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for level in suitable_levels():
        monkeypatch.setenv(LEVEL_VARIABLE, level.name)
        load_kernel.cache_clear()
        digests = []
        for model in (PAPER, replace(LINEAR, connections="full", subsampling="max", activation="relu")):
            fused = FusedLeNet5Of1998(classifier_of(model))
            of = shown(40)
            settings = SdlmConfig("sdlm", 0.0005, 0.02, 10, 0.0, CONSTANT)
            state = fused.optimizer_state(settings) | {"curvature": fused.curvature(of.first(10))}
            fused.train(of, 1, [0.0005] * 40, settings, None, state)
            digests.append(fused.weights.numpy().tobytes())
        found.append(digests)
    monkeypatch.undo()
    load_kernel.cache_clear()
    assert all(one == found[0] for one in found)

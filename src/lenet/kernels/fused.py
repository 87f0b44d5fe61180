"""Call the fused kernel: a chunk of mini-batches, or a forward pass, in one call that releases Python's lock."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_double, c_float, c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor, nn

from lenet.config.schema import Optimizer
from lenet.core.errors import LenetError
from lenet.kernels.choice import LENET5, MAX_CLASSES, MAX_SIDE
from lenet.kernels.library import COMPILE, Kernel, Missing, load_kernel
from lenet.kernels.structures import LEVELS_OF_GREY, OptimizerSettings, address, check, optimizer_settings
from lenet.models.classifier import Classifier
from lenet.models.lenet5 import LeNet5

ACTIVATIONS = ("tanh", "scaled_tanh", "sigmoid", "relu", "silu", "gelu")
POOLINGS = ("average", "max")


class _Network(Structure):
    _fields_ = (
        ("activation", c_int32),
        ("pooling", c_int32),
        ("normalized", c_int32),
        ("classes", c_int32),
        ("height", c_int32),
        ("width", c_int32),
        ("pixels", c_void_p),
        ("weights", c_void_p),
        ("running_mean", c_void_p * 2),
        ("running_variance", c_void_p * 2),
    )


class _Training(Structure):
    _fields_ = (
        ("images", c_void_p),
        ("labels", c_void_p),
        ("order", c_void_p),
        ("offsets", c_void_p),
        ("count", c_int64),
        ("shift", c_int32),
        ("batch_size", c_int32),
        ("accumulate", c_int32),
        ("smoothing", c_float),
        ("rates", c_void_p),
        ("first_step", c_int64),
        ("optimizer", OptimizerSettings),
        ("threads", c_int32),
        ("answers", c_void_p),
        ("loss", c_double),
        ("is_finite", c_int32),
    )


def can_fuse(classifier: Classifier) -> bool:
    """Whether the kernel can compute a classifier's logits here."""
    channels, height, width = classifier.image_shape
    fits = channels == 1 and max(height, width) <= MAX_SIDE
    network = classifier.network
    if not fits or type(classifier) is not Classifier or not isinstance(network, LeNet5):
        return False  # a class that inherits may have another forward pass
    if network.output.out_features > MAX_CLASSES[LENET5]:
        return False
    weight = network.output.weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and isinstance(load_kernel(), Kernel)


class FusedLeNet5:
    """LeNet-5 with all weights in one vector, which the kernel reads and writes.

    Args:
        classifier: a LeNet-5 with its preprocessing, on the CPU, in fp32; its weights are copied.

    Attributes:
        weights: the vector, in the order of the parameters.

    Raises:
        LenetError: there is no kernel for this processor; in each call: there is no memory for it.
    """

    def __init__(self, classifier: Classifier) -> None:
        kernel = load_kernel()
        if isinstance(kernel, Missing):
            raise LenetError(f"no fused kernel here: {kernel.reason}")
        network = classifier.network
        assert isinstance(network, LeNet5)
        self._functions = _declared(kernel)
        self._classes = network.output.out_features
        self._normalizations = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
        self._image_shape = classifier.image_shape
        self._pixels = classifier.field.normalize(torch.arange(LEVELS_OF_GREY, dtype=torch.float32)).reshape(-1)
        self._parameters = list(network.parameters())
        copies = [one.detach().reshape(-1) for one in self._parameters]
        self.weights = nn.Parameter(torch.cat(copies), requires_grad=False)
        self._model = network.model

    def bind(self) -> None:
        """Make the classifier's parameters views of the vector, so that they always have its newest weights."""
        sizes = [one.numel() for one in self._parameters]
        for one, view in zip(self._parameters, self.weights.split(sizes), strict=True):
            one.data = view.view(one.shape)

    def _network(self) -> _Network:
        statistics = [(layer.running_mean, layer.running_var) for layer in self._normalizations] or [(None, None)] * 2
        means, variances = zip(*statistics, strict=True)
        _, height, width = self._image_shape
        return _Network(
            ACTIVATIONS.index(self._model.activation),
            POOLINGS.index(self._model.pooling),
            bool(self._normalizations),
            self._classes,
            height,
            width,
            address(self._pixels),
            address(self.weights),
            (c_void_p * 2)(*map(address, means)),
            (c_void_p * 2)(*map(address, variances)),
        )

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        order: Tensor,
        offsets: Tensor,
        shift: int,
        batch_size: int,
        accumulate: int,
        rates: Sequence[float],
        optimizer: Optimizer,
        clip: float | None,
        state: dict[str, Any],
    ) -> tuple[float, Tensor]:
        """Take one optimizer step for each learning rate.

        Args:
            images: all training images, bytes [n, 1, height, width].
            labels: classes of the images that are shown [m].
            order: which images are shown [m].
            offsets: where the window of each is cut, from 0 to 2 · shift, down and across [m, 2].
            shift: largest translation in pixels.
            batch_size: images a mini-batch; the last may have fewer.
            accumulate: mini-batches a step; the last may have fewer.
            rates: the learning rate of each step.
            optimizer: its settings.
            clip: largest norm of the gradient, or None.
            state: see `optimizer_state`; it is updated.

        Returns:
            The loss summed over the images, with smoothed labels and before each step, in nats; and the class that the
            network gave each image before the step [m]. The loss is not a number if a weight is not finite.
        """
        answers = torch.empty_like(labels)
        schedule = torch.tensor(rates, dtype=torch.float32)
        tensors = [images, labels, order, offsets]
        images, labels, order, offsets = (one.contiguous() for one in tensors)
        job = _Training(
            *map(address, (images, labels, order, offsets)),
            len(order),
            shift,
            batch_size,
            accumulate,
            optimizer.label_smoothing,
            address(schedule),
            state["step"],
            optimizer_settings(optimizer, clip, state),
            torch.get_num_threads(),
            address(answers),
        )
        check(self._functions.lenet5_train(byref(self._network()), byref(job)))
        state["step"] += len(rates)
        for layer in self._normalizations:
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked += -(-len(order) // batch_size)
        return (job.loss if job.is_finite else float("nan")), answers

    def read(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, float]:
        """Return the logits [n, classes] of bytes [n, 1, height, width], and with labels their summed cross entropy."""
        assert tuple(images.shape[1:]) == self._image_shape
        logits, loss = torch.empty(len(images), self._classes), c_double()
        images = images.contiguous()
        labels = None if labels is None else labels.contiguous()
        threads = torch.get_num_threads()
        arguments = (address(images), address(labels), len(images), threads, address(logits), byref(loss))
        check(self._functions.lenet5_read(byref(self._network()), *arguments))
        return logits, loss.value


def _declared(kernel: Kernel) -> ctypes.CDLL:
    functions = kernel.functions
    functions.lenet5_train.argtypes = [POINTER(_Network), POINTER(_Training)]
    data = (c_void_p, c_void_p, c_int64, c_int32, c_void_p, POINTER(c_double))
    functions.lenet5_read.argtypes = (POINTER(_Network), *data)
    sizes = (functions.lenet5_network_bytes(), functions.lenet5_training_bytes())
    if sizes != (ctypes.sizeof(_Network), ctypes.sizeof(_Training)):
        raise LenetError(f"the compiled kernel is of another version of the project; {COMPILE}")
    return functions

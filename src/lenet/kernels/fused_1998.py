"""Call the kernel of 1998's network: steps, second derivatives or logits, in one call that releases Python's lock."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lenet.config.schema import Optimizer, SdlmConfig
from lenet.core.errors import LenetError
from lenet.kernels.choice import LENET5_1998, MAX_CLASSES
from lenet.kernels.library import COMPILE, Kernel, Missing, load_kernel
from lenet.kernels.structures import (
    LEVELS_OF_GREY,
    OptimizerSettings,
    address,
    check,
    optimizer_settings,
    optimizer_state,
)
from lenet.models.classifier import Classifier
from lenet.models.lenet5_1998 import MAPS1, MAPS3, SPARSE, LeNet5Of1998

ACTIVATIONS = ("tanh", "scaled_tanh", "sigmoid", "relu")
SUBSAMPLINGS = ("average", "max", "trainable")
LOSSES = ("rbf_mean", "rbf_map", "cross_entropy")


class _Network(Structure):
    _fields_ = (
        ("activation", c_int32),
        ("subsampling", c_int32),
        ("is_rbf", c_int32),
        ("loss", c_int32),
        ("classes", c_int32),
        ("height", c_int32),
        ("width", c_int32),
        ("penalty", c_float),
        ("pixels", c_void_p),
        ("connected", c_void_p),
        ("centres", c_void_p),
        ("weights", c_void_p),
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
        ("smoothing", c_float),
        ("rates", c_void_p),
        ("first_step", c_int64),
        ("optimizer", OptimizerSettings),
        ("damping", c_float),
        ("curvature", c_void_p),
        ("answers", c_void_p),
        ("loss", c_double),
        ("is_finite", c_int32),
    )


@dataclass(frozen=True)
class Shown:
    """The images that a training shows next.

    Attributes:
        images: all training images, bytes [n, 1, height, width].
        labels: classes of the images that are shown [m].
        order: which images are shown [m].
        offsets: where the window of each is cut, from 0 to 2 · shift, down and across [m, 2].
        shift: largest translation in pixels.
    """

    images: Tensor
    labels: Tensor
    order: Tensor
    offsets: Tensor
    shift: int

    def first(self, count: int) -> Shown:
        """Return the first of them."""
        return Shown(self.images, self.labels[:count], self.order[:count], self.offsets[:count], self.shift)


def can_fuse_1998(classifier: Classifier) -> bool:
    """Whether the kernel can compute a classifier's logits here."""
    if type(classifier) is not Classifier or not isinstance(classifier.network, LeNet5Of1998):
        return False
    if isinstance(output := classifier.network.output, nn.Linear) and output.out_features > MAX_CLASSES[LENET5_1998]:
        return False
    weight = next(classifier.parameters())
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and isinstance(load_kernel(), Kernel)


class FusedLeNet5Of1998:
    """The network of 1998 with all weights in one vector, which the kernel reads and writes.

    Args:
        classifier: the network with its preprocessing, on the CPU, in fp32; its weights are copied.

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
        assert isinstance(network, LeNet5Of1998)
        self._functions = _declared(kernel)
        self._model, self._image_shape = network.model, classifier.image_shape
        self._pixels = classifier.field.normalize(torch.arange(LEVELS_OF_GREY, dtype=torch.float32)).reshape(-1)
        self._parameters = list(network.parameters())
        if isinstance(network.output, nn.Linear):
            self._centres, self._classes = None, network.output.out_features
        else:
            self._centres = network.output.centres.contiguous()
            self._classes = len(self._centres)
        self._connected = torch.ones(MAPS3, MAPS1, dtype=torch.uint8)
        if self._model.connections == "sparse":
            self._connected = torch.tensor([[c in maps for c in range(MAPS1)] for maps in SPARSE]).to(torch.uint8)
        self.weights = nn.Parameter(
            torch.cat([one.detach().reshape(-1) for one in self._parameters]), requires_grad=False
        )

    def bind(self) -> None:
        """Make the classifier's parameters views of the vector, so that they always have its newest weights."""
        sizes = [one.numel() for one in self._parameters]
        for one, view in zip(self._parameters, self.weights.split(sizes), strict=True):
            one.data = view.view(one.shape)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return what an optimizer keeps, before its first step, in the kernel's own order of the weights."""
        return optimizer_state(optimizer, torch.zeros(self._functions.lenet5_1998_floats()))

    def train(
        self,
        shown: Shown,
        batch_size: int,
        rates: Sequence[float],
        optimizer: Optimizer,
        clip: float | None,
        state: dict[str, Any],
    ) -> tuple[float, Tensor]:
        """Take one optimizer step for each learning rate, on the mean gradient of `batch_size` images.

        Args:
            shown: the images.
            batch_size: images a step; the last may have fewer.
            rates: the learning rate of each step.
            optimizer: its settings.
            clip: largest norm of the gradient, or None.
            state: see `optimizer_state`; it is updated.

        Returns:
            The loss summed over the images, before each step; and the class that the network gave each image before the
            step [m]. The loss is not a number if a weight is not finite.
        """
        answers, schedule = torch.empty_like(shown.labels), torch.tensor(rates, dtype=torch.float32)
        kept = [one.contiguous() for one in (shown.images, shown.labels, shown.order, shown.offsets)]
        job = self._job(kept, shown.shift, batch_size)
        job.smoothing, job.rates, job.first_step = optimizer.label_smoothing, address(schedule), state["step"]
        job.optimizer, job.answers = optimizer_settings(optimizer, clip, state), address(answers)
        if isinstance(optimizer, SdlmConfig):
            job.damping, job.curvature = optimizer.damping, address(state["curvature"])
        check(self._functions.lenet5_1998_train(byref(self._network()), byref(job)))
        state["step"] += len(rates)
        return (job.loss if job.is_finite else float("nan")), answers

    def curvature(self, shown: Shown) -> Tensor:
        """Return the mean second derivatives of the loss of images, in the kernel's own order (Appendix C)."""
        kept = [one.contiguous() for one in (shown.images, shown.labels, shown.order, shown.offsets)]
        job, found = self._job(kept, shown.shift, len(shown.labels)), torch.zeros(self._functions.lenet5_1998_floats())
        check(self._functions.lenet5_1998_curvature(byref(self._network()), byref(job), address(found)))
        return found

    def in_order(self, vector: Tensor) -> Tensor:
        """Return a vector in the kernel's order, such as second derivatives, in the order of the parameters."""
        found = torch.zeros_like(self.weights)
        self._functions.lenet5_1998_in_order(byref(self._network()), address(vector), address(found))
        return found

    def read(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, float]:
        """Return the logits [n, classes] of bytes [n, 1, height, width], and with labels their summed cross entropy."""
        assert tuple(images.shape[1:]) == self._image_shape
        logits, loss, images = torch.empty(len(images), self._classes), c_double(), images.contiguous()
        labels = None if labels is None else labels.contiguous()
        arguments = (address(images), address(labels), len(images), address(logits), byref(loss))
        check(self._functions.lenet5_1998_read(byref(self._network()), *arguments))
        return logits, loss.value

    def _network(self) -> _Network:
        model, (_, height, width) = self._model, self._image_shape
        return _Network(
            ACTIVATIONS.index(model.activation),
            SUBSAMPLINGS.index(model.subsampling),
            self._centres is not None,
            LOSSES.index(model.loss),
            self._classes,
            height,
            width,
            model.penalty,
            address(self._pixels),
            address(self._connected),
            address(self._centres),
            address(self.weights),
        )

    def _job(self, tensors: Sequence[Tensor], shift: int, batch_size: int) -> _Training:
        """Return a job on images, labels, order and offsets, which the caller keeps alive."""
        return _Training(*map(address, tensors), len(tensors[2]), shift, batch_size)


def _declared(kernel: Kernel) -> ctypes.CDLL:
    functions = kernel.functions
    functions.lenet5_1998_train.argtypes = (POINTER(_Network), POINTER(_Training))
    functions.lenet5_1998_curvature.argtypes = (POINTER(_Network), POINTER(_Training), c_void_p)
    functions.lenet5_1998_in_order.argtypes = (POINTER(_Network), c_void_p, c_void_p)
    data = (c_void_p, c_void_p, c_int64, c_void_p, POINTER(c_double))
    functions.lenet5_1998_read.argtypes = (POINTER(_Network), *data)
    sizes = (functions.lenet5_1998_network_bytes(), functions.lenet5_1998_training_bytes())
    if sizes != (ctypes.sizeof(_Network), ctypes.sizeof(_Training)):
        raise LenetError(f"the compiled kernel is of another version of the project; {COMPILE}")
    return functions

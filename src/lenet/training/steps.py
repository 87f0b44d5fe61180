"""What takes the optimizer steps and reads the validation images: torch, or the fused kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from lenet.config.schema import Config, SdlmConfig
from lenet.data.loader import BatchChunk
from lenet.kernels.fused import FusedLeNet5
from lenet.kernels.fused_1998 import FusedLeNet5Of1998, Shown
from lenet.kernels.structures import optimizer_state
from lenet.models.classifier import Classifier
from lenet.training.losses import build_loss
from lenet.training.optimizers import build_optimizer

Backward = Callable[[Tensor], None]


class Steps(Protocol):
    """Takes the steps of one training.

    Attributes:
        optimizers: torch's optimizer, if it is one; checkpoints hold its state.
        state: what else they hold.
    """

    optimizers: list[torch.optim.Optimizer]
    state: dict[str, Any]

    def train(self, chunk: BatchChunk, rates: Sequence[float], backward: Backward) -> tuple[Tensor, Tensor]:
        """Take the optimizer steps of a chunk, each on the mean gradient of its mini-batches' images.

        Args:
            chunk: the mini-batches.
            rates: the learning rate of each step.
            backward: computes the gradients of a loss.

        Returns:
            The loss summed over the images, in nats, not finite if a weight is not; and the class that the network gave
            each image, or its logits.
        """

    def read(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits [n, classes] of bytes, and the mean of their cross entropy, without label smoothing."""


class TorchSteps:
    """Steps in torch's eager mode, of any network on any device."""

    def __init__(self, config: Config, classifier: Classifier) -> None:
        self._optimizer = build_optimizer(config.optimizer, classifier.parameters())
        self.optimizers: list[torch.optim.Optimizer] = [self._optimizer]
        self.state: dict[str, Any] = {}
        self._classifier = classifier
        self._loss, self._clip = build_loss(config), config.trainer.gradient_clip

    def train(self, chunk: BatchChunk, rates: Sequence[float], backward: Backward) -> tuple[Tensor, Tensor]:
        """See `Steps`."""
        on_gpu = chunk.labels.device.type == "cuda"
        return self.take(chunk, self.rate_tensor(rates) if on_gpu else rates, backward)

    def rate_tensor(self, rates: Sequence[float]) -> Tensor:
        """Return learning rates [steps] where the fused optimizers of a GPU read them, recorded or not."""
        return torch.tensor(rates, device="cuda")

    def take(self, chunk: BatchChunk, rates: Sequence[float] | Tensor, backward: Backward) -> tuple[Tensor, Tensor]:
        """Take the steps of a chunk; arguments and result are those of `train`."""
        logits_seen, losses = [], []
        for rate, batches in zip(rates, chunk.steps(), strict=True):
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.zero_grad()
            count = sum(len(labels) for _, labels in batches)
            for images, labels in batches:
                logits = self._classifier(images)
                loss = self._loss(logits, labels)
                backward(loss if len(batches) == 1 else loss * (len(labels) / count))
                logits_seen.append(logits.detach())
                losses.append(loss.detach() * len(labels))
            if self._clip is not None:
                nn.utils.clip_grad_norm_(self._classifier.parameters(), self._clip)
            self._optimizer.step()
        return torch.stack(losses).sum(), torch.cat(logits_seen)

    def read(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Steps`."""
        logits = self._classifier(images)
        return logits, functional.cross_entropy(logits, labels)


class FusedSteps:
    """Steps of the fused kernel, which makes torch's optimizers unnecessary."""

    def __init__(self, config: Config, classifier: Classifier) -> None:
        self._network = FusedLeNet5(classifier)
        self._network.bind()
        self.optimizers: list[torch.optim.Optimizer] = []
        self.state = optimizer_state(config.optimizer, self._network.weights)
        self._settings, self._clip = config.optimizer, config.trainer.gradient_clip

    def train(self, chunk: BatchChunk, rates: Sequence[float], backward: Backward) -> tuple[Tensor, Tensor]:
        """See `Steps`; the kernel computes the gradients itself."""
        loss, answers = self._network.train(
            chunk.windows.images,
            chunk.labels,
            chunk.indices,
            chunk.offsets,
            chunk.windows.shift,
            chunk.batch_size,
            chunk.accumulate,
            rates,
            self._settings,
            self._clip,
            self.state,
        )
        return torch.tensor(loss, dtype=torch.float64), answers

    def read(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Steps`."""
        logits, loss = self._network.read(images, labels)
        return logits, torch.tensor(loss / len(labels))


class StepsOf1998:
    """Steps of the kernel of 1998's network, and the second derivatives that its optimizer wants before each epoch."""

    def __init__(self, config: Config, classifier: Classifier) -> None:
        self._network = FusedLeNet5Of1998(classifier)
        self._network.bind()
        self.optimizers: list[torch.optim.Optimizer] = []
        self._settings, self._trainer = config.optimizer, config.trainer
        self.state = self._network.optimizer_state(self._settings)

    def train(self, chunk: BatchChunk, rates: Sequence[float], backward: Backward) -> tuple[Tensor, Tensor]:
        """See `Steps`; the kernel computes the gradients itself."""
        images, shift = chunk.windows.images, chunk.windows.shift
        shown = Shown(images, chunk.labels, chunk.indices, chunk.offsets, shift)
        if isinstance(self._settings, SdlmConfig) and chunk.first_step == 0:
            self.state["curvature"] = self._network.curvature(shown.first(self._settings.samples))
        step_size = self._trainer.batch_size * self._trainer.accumulate
        loss, answers = self._network.train(
            shown, step_size, rates, self._settings, self._trainer.gradient_clip, self.state
        )
        return torch.tensor(loss, dtype=torch.float64), answers

    def read(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Steps`."""
        logits, loss = self._network.read(images, labels)
        return logits, torch.tensor(loss / len(labels))

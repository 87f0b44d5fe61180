"""The losses of a mini-batch, from logits; those of the network of 1998 take them for distances with a minus."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from lenet.config.schema import Config

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits [n, classes] and classes [n] to the mean over the images."""


def build_loss(config: Config) -> Loss:
    """Return the loss that a network's knob `loss` names; cross entropy where it has none."""
    kind = getattr(config.model, "loss", "cross_entropy")
    if kind == "rbf_mean":
        return rbf_mean
    if kind == "rbf_map":
        penalty: float = getattr(config.model, "penalty", 0.0)
        return lambda logits, labels: rbf_map(logits, labels, penalty)
    smoothing = config.optimizer.label_smoothing
    return lambda logits, labels: functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def rbf_mean(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean distance from the right class's bitmap (LeCun et al. 1998, equation 8)."""
    return -logits.gather(1, labels[:, None]).mean()


def rbf_map(logits: Tensor, labels: Tensor, penalty: float) -> Tensor:
    """Return the mean of y_right + log(exp(-j) + sum of exp(-y)), in nats (LeCun et al. 1998, equation 9).

    Args:
        logits: distances with a minus [n, classes].
        labels: classes [n].
        penalty: j.
    """
    rubbish = logits.new_full((len(logits), 1), -penalty)
    return rbf_mean(logits, labels) + torch.cat([logits, rubbish], dim=1).logsumexp(1).mean()

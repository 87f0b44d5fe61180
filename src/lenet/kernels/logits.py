"""Compute a trained network's logits: by the fused kernel where it knows the network, else by torch."""

from __future__ import annotations

import torch
from torch import Tensor

from lenet.data.loader import EVALUATION_BATCH
from lenet.kernels.fused import FusedLeNet5, can_fuse
from lenet.kernels.fused_1998 import FusedLeNet5Of1998, can_fuse_1998
from lenet.models.classifier import Classifier


@torch.inference_mode()
def compute_logits(classifier: Classifier, images: Tensor) -> Tensor:
    """Return the logits [n, classes] of bytes [n, channels, height, width], in fp32 on the CPU.

    Those of the fused kernel are the same bits on every processor, whatever trained the network.
    """
    classifier = classifier.cpu().eval()
    if can_fuse(classifier):
        return FusedLeNet5(classifier).read(images.cpu())[0]
    if can_fuse_1998(classifier):
        return FusedLeNet5Of1998(classifier).read(images.cpu())[0]
    return torch.cat([classifier(part.cpu()) for part in images.split(EVALUATION_BATCH)])

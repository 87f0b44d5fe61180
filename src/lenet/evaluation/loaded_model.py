"""A trained network in memory, from images to class names and probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lenet.config.schema import Config
from lenet.evaluation.metrics import log_probabilities
from lenet.evaluation.predict import predict

if TYPE_CHECKING:
    from lenet.models.classifier import Classifier


@dataclass(frozen=True)
class LoadedModel:
    """A trained network, ready to classify images.

    Attributes:
        name: of its run or version.
        config: the config that trained it.
        network: torch module from bytes [n, channels, height, width] to logits [n, classes].
    """

    name: str
    config: Config
    network: Classifier

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels."""
        return self.config.data.classes

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the probability of each class, [n, classes].

        Args:
            images: bytes [n, channels, height, width]; [n, height, width] where there is one channel.

        Raises:
            ValueError: the images have another type or shape than the training data's.
        """
        shape = self.config.data.image_shape
        if images.dtype == np.uint8 and shape[0] == 1 and images.shape[1:] == shape[1:]:
            images = images[:, np.newaxis]
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            expected = " × ".join(map(str, shape))
            raise ValueError(
                f"{self.name} classifies uint8 images of shape n × {expected} (channels, height, width), not"
                f" {images.dtype} of {' × '.join(map(str, images.shape))}"
            )
        probabilities: NDArray[np.float64] = np.exp(log_probabilities(predict(self.network, images)))
        return probabilities

    def predict(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the name of the most probable class of each image, [n]; arguments as those of `probabilities`."""
        names: NDArray[Any] = np.array(self.classes)[self.probabilities(images).argmax(axis=1)]
        return names

"""Split the training set into training and validation parts: one fixed stratified order, cut twice.

Validation is the end of the order, training its beginning, so that the validation images are the same whatever the
size of the training part, and smaller training parts are subsets of larger ones. Every beginning and every end of the
order holds the classes in the proportions of the whole, to within about two images a class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lenet.core.errors import ConfigError

ORDER_SEED = 1998
"""Draws the order once and for all; it is no knob, since another order is another validation set."""

MANTISSA_BITS = 53
WORD_BITS = 64


def stratified_order(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return a fixed permutation [n] of the indices of `labels` [n], stratified at every cut.

    Within a class of n members the j-th in shuffled order has the key (j + u) / n, u uniform in [0, 1) and one for the
    class; the order sorts by key. It is the same on every machine and with every numpy.
    """
    # Philox's raw words are stable for ever; the streams of Generator's methods may change between numpy releases.
    words = np.random.Philox(key=ORDER_SEED)
    members: list[NDArray[np.int64]] = []
    keys: list[NDArray[np.float64]] = []
    for label in np.unique(labels):
        members_here = np.flatnonzero(labels == label)
        phase = float(int(words.random_raw()) >> (WORD_BITS - MANTISSA_BITS)) / 2**MANTISSA_BITS
        shuffle = np.argsort(words.random_raw(members_here.size), kind="stable")
        members.append(members_here[shuffle])
        keys.append((np.arange(members_here.size) + phase) / members_here.size)
    if not members:
        return np.empty(0, dtype=np.int64)
    # A stable sort leaves equal keys in the order of their classes.
    ranking = np.argsort(np.concatenate(keys), kind="stable")
    return np.concatenate(members)[ranking].astype(np.int64)


def split(
    order: NDArray[np.int64], train_size: int | None, validation_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut the order [n] into training [train_size] and validation [validation_size] indices.

    Args:
        order: what `stratified_order` returned.
        train_size: training images; None takes all that validation leaves.
        validation_size: images held out, the last of the order; 0 holds out none.

    Raises:
        ConfigError: the sizes are not possible; the message says which are.
    """
    images = len(order)
    if not 0 <= validation_size < images:
        raise ConfigError(
            f"data.validation_size={validation_size}: must be 0 to {images - 1}; "
            f"of {images} images at least one has to train"
        )
    rest = images - validation_size
    if train_size is not None and not 1 <= train_size <= rest:
        raise ConfigError(
            f"data.train_size={train_size}: must be 1 to {rest}, "
            f"what data.validation_size={validation_size} leaves of {images} images"
        )
    return order[: rest if train_size is None else train_size], order[rest:]

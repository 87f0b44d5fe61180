"""What is known of a data set beyond its files, for the model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lenet.evaluation.label_errors import DOUBTFUL_LABELS, TEST_LABELS_SHA256


@dataclass(frozen=True)
class DataNotes:
    """Remarks on a data set, each a sentence or a part of one.

    Attributes:
        contents: what an image shows.
        limits: whom or what the images do not stand for.
        label_errors: what is known of wrong labels.
    """

    contents: str
    limits: str
    label_errors: str


MNIST = DataNotes(
    contents="one handwritten digit an image, bright ink on black",
    limits="Who wrote the digits is known by group alone: employees of the US Census Bureau and high-school students,"
    " in the United States and before 1995. How well other people's handwriting is recognized was never measured.",
    label_errors=f"Of five people who were shown the images, fewer than three confirmed {len(DOUBTFUL_LABELS)} of its"
    " 10,000 test labels (Northcutt et al., “Pervasive Label Errors in Test Sets Destabilize Machine Learning"
    " Benchmarks”, NeurIPS 2021). They count in every figure here.",
)


def notes_on(card: Mapping[str, Any]) -> DataNotes | None:
    """Return the notes on a prepared data set, found by the digest of its test labels, whatever its name.

    Args:
        card: card.json of the prepared data set.
    """
    return MNIST if TEST_LABELS_SHA256 in card["raw"].values() else None

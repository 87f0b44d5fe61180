"""DVC's metrics: the handful of figures that a person compares, in files of their own.

`dvc metrics show` makes a column of every value, `dvc exp show` one of every value of every file: seals, counts,
fingerprints and whatever only the next stage reads stands in files that are no metrics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenet.core.atomic_io import write_text
from lenet.core.rounding import rounded
from lenet.evaluation.metrics import Spread

DECIMALS = 3
"""Of an error in percent: a mean over seeds on 5,000 images moves in steps of some hundredths."""


def over_seeds(found: Spread) -> dict[str, float]:
    """Return mean and standard deviation, rounded; one seed alone has no deviation."""
    mean = {"mean": round(found.mean, DECIMALS)}
    return mean if found.deviation is None else mean | {"sd": round(found.deviation, DECIMALS)}


def write_metrics(path: Path, body: Mapping[str, Any]) -> None:
    """Write a metrics file, whole or not at all; it carries no seal, which would be one more metric."""
    write_text(path, json.dumps(rounded(body), indent=2, allow_nan=False) + "\n")

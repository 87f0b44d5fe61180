"""What a figure was measured on, and how figures are summed up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from lenet.config.compose import compose
from lenet.core.project import find_project
from lenet.runs.run_environment import device_name, git_state, versions
from lenet.training.fit import choose_accelerator

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"


def describe() -> dict[str, Any]:
    """Return the machine, the versions and the commit, with the load that others put on it just now."""
    device = device_name(choose_accelerator(compose(find_project(ROOT), [])))
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "cores": os.cpu_count(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "versions": versions(),
        "git": git_state(ROOT),
    }


def summed(values: Sequence[float]) -> dict[str, Any]:
    """Return median, least, greatest and number of some figures."""
    return {"median": median(values), "min": min(values), "max": max(values), "n": len(values)}


def told(figures: dict[str, Any], unit: str = "") -> str:
    """Return figures as people read them: the median, the range, the number."""
    middle, least, most = (f"{figures[name]:.2f}{unit}" for name in ("median", "min", "max"))
    return f"{middle} (median; {least} to {most}, n = {figures['n']})"

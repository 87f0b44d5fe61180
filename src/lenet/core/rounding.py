"""Figures that are the same on every machine: processors differ in the last of sixteen digits."""

from __future__ import annotations

from typing import Any

DIGITS = 9
"""Significant digits of the numbers in committed results."""


def rounded(tree: Any) -> Any:
    """Return plain values with every float rounded to DIGITS significant digits."""
    if isinstance(tree, float):
        return float(f"{tree:.{DIGITS}g}")
    if isinstance(tree, dict):
        return {key: rounded(value) for key, value in tree.items()}
    return [rounded(value) for value in tree] if isinstance(tree, list | tuple) else tree

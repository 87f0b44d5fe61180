"""Importing this module imports MLflow without pandas, which its client does not need: a quarter of the time.

MLflow leaves out what needs pandas where that is missing; whoever imports pandas later has it.
"""

from __future__ import annotations

import sys

PANDAS = "pandas"
_is_hidden = PANDAS not in sys.modules
if _is_hidden:
    sys.modules[PANDAS] = None  # type: ignore[assignment]  # Python's documented way to say that a module is not there
try:
    import mlflow
finally:
    if _is_hidden:
        del sys.modules[PANDAS]

__all__ = ["mlflow"]

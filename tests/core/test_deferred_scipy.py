"""In processes of their own: an import that was made once cannot be deferred any more."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


BEGIN = "from lenet.core.deferred_scipy import defer_signal; defer_signal(); import sys; "
TORCHMETRICS = """
import scipy.signal
if not hasattr(scipy.signal, "hamming"):
    scipy.signal.hamming = scipy.signal.windows.hamming
"""


def test_what_torchmetrics_does_imports_nothing() -> None:
    told = run(f"{BEGIN}{TORCHMETRICS}print('scipy.signal._signaltools' in sys.modules, 'numpy' in sys.modules)")
    assert told == "False True"


def test_torchmetrics_does_nothing_else_with_it() -> None:
    assert run(f"{BEGIN}import torchmetrics; print('scipy.signal._signaltools' in sys.modules)") == "False"


def test_who_uses_it_has_all_of_it() -> None:
    how = {
        "from scipy import signal": "signal.convolve([1, 2], [3])",
        "from scipy.signal import convolve": "convolve([1, 2], [3])",
    }
    for statement, use in how.items():
        assert run(f"{BEGIN}{TORCHMETRICS}{statement}; print({use})") == "[3 6]"
    windows = "from scipy.signal.windows import hamming; import scipy.signal; scipy.signal.convolve; print(hamming(1))"
    assert run(f"{BEGIN}{TORCHMETRICS}{windows}") == "[1.]"


def test_its_own_names_are_its_own() -> None:
    told = run(f"{BEGIN}{TORCHMETRICS}print(hasattr(scipy.signal, 'nothing'), hasattr(scipy.signal, 'hamming'))")
    assert told == "False False"


def test_asked_twice_or_too_late_it_changes_nothing() -> None:
    assert run(f"{BEGIN}n = len(sys.meta_path); defer_signal(); print(len(sys.meta_path) - n)") == "0"
    late = f"import scipy.signal, sys; n = len(sys.meta_path); {BEGIN.removesuffix('; ')}"
    assert run(f"{late}; print(len(sys.meta_path) - n)") == "0"

"""In processes of their own: an import that was made once cannot be deferred any more."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = "import lenet.core.fast_imports, sys; "
IS_LOADED = "print('scipy.signal._signaltools' in sys.modules)"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchmetrics_does_not_load_scipy_signal() -> None:
    assert run(f"{BEGIN}import torchmetrics; {IS_LOADED}") == "False"


@pytest.mark.parametrize(
    "use",
    [
        "from scipy import signal; print(signal.convolve([1, 2], [3]))",
        "import scipy.signal; print(scipy.signal.convolve([1, 2], [3]))",
        "from scipy.signal import convolve; print(convolve([1, 2], [3]))",
        "from scipy.signal.windows import hamming; import scipy; print(scipy.signal.convolve([1, 2], [3]))",
    ],
)
def test_who_uses_scipy_signal_gets_all_of_it(use: str) -> None:
    assert run(f"{BEGIN}{use}") == "[3 6]"


def test_what_scipy_signal_does_not_have_is_missing() -> None:
    assert run(f"{BEGIN}import scipy.signal; print(hasattr(scipy.signal, 'nothing'))") == "False"


def test_scipy_signal_that_is_loaded_stays() -> None:
    same = "print(sys.modules['scipy.signal'] is before)"
    assert run(f"import scipy.signal; before = scipy.signal; {BEGIN}{same}") == "True"

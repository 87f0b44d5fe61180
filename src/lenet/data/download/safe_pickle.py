"""Arrays out of a pickle from the internet, which may name nothing but numpy's arrays."""

from __future__ import annotations

import gzip
import math
import pickle
import zlib
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lenet.data.download.stream import FILE_BYTES_LIMIT, SourceError

LEVELS = 256
"""The pickled pixels are bytes divided by this."""

PICKLE_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
"""Where numpy 1 and numpy 2 say that `_reconstruct` lives."""

_RECONSTRUCT = np.empty(0).__reduce__()[0]
ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(module, "_reconstruct"): _RECONSTRUCT for module in PICKLE_MODULES},
}

MALFORMED = (
    pickle.UnpicklingError,
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ImportError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    SystemError,
)
"""What reading a broken pickle raises: unpickling promises no narrower class, and numpy adds the last."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not an array") from None


class _Bounded:
    """The reading half of a stream, up to a number of bytes."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int) -> bytes:
        return self._count(self._stream.read, size)

    def readline(self) -> bytes:
        return self._count(self._stream.readline, self._left)

    def _count(self, method: Callable[[int], bytes], size: int) -> bytes:
        if size > self._left:
            raise pickle.UnpicklingError("it is too long")
        content = method(size)
        self._left -= len(content)
        return content


def load_arrays(packed: IO[bytes]) -> Any:
    """Read a gzipped pickle of arrays, tuples, lists, numbers and strings, running none of its code.

    A pickle can also ask for more memory than there is: call this only on a file whose digest is known.

    Raises:
        SourceError: it is no such pickle, names anything else, or is more than FILE_BYTES_LIMIT bytes.
    """
    try:
        with gzip.open(packed) as stream:
            # Python 2 wrote the arrays' bytes as strings; latin1 takes each byte for the character of its number.
            return _ArrayUnpickler(_Bounded(stream, FILE_BYTES_LIMIT), encoding="latin1").load()
    except MALFORMED as error:
        raise SourceError(f"its pickle cannot be read ({error})") from error


def original_arrays(content: Any) -> dict[str, NDArray[np.uint8]]:
    """Turn ((images, labels) of training, validation and test) back into the four official arrays.

    Args:
        content: images are floats [n, side²] in steps of 1/256, labels whole numbers [n]; the official training set is
            the training part followed by the validation part.

    Returns:
        uint8 arrays by role: `train_images` and `test_images` [n, side, side], `train_labels` and `test_labels` [n].

    Raises:
        SourceError: the content has another form.
    """
    try:
        (images, labels), (more_images, more_labels), (test_images, test_labels) = content
        return {
            "train_images": np.concatenate([_to_bytes(images), _to_bytes(more_images)]),
            "train_labels": np.concatenate([labels, more_labels]).astype(np.uint8),
            "test_images": _to_bytes(test_images),
            "test_labels": test_labels.astype(np.uint8),
        }
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise SourceError(f"its pickle is not three pairs of images and labels ({error})") from error


def _to_bytes(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    count, pixels = images.shape
    side = math.isqrt(pixels)
    # Not-a-numbers and overflows make a file with another digest, which is refused as such.
    with np.errstate(invalid="ignore", over="ignore"):
        return (images * LEVELS).astype(np.uint8).reshape(count, side, side)

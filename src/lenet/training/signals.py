"""Signals that end a training between two steps, so that what is kept is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from lenet.core.errors import Stopped

HEARD = (signal.SIGINT, signal.SIGTERM)


class GracefulStop:
    """Within the block, Ctrl-C and SIGTERM are noted; `check` raises them where it is safe.

    Off the main thread no signal can be heard, and the block changes nothing.
    """

    def __init__(self) -> None:
        self._signum: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> GracefulStop:
        if threading.current_thread() is threading.main_thread():
            self._previous = {signum: signal.getsignal(signum) for signum in HEARD}
            self.listen()
        return self

    def listen(self) -> None:
        """Hear the signals again; Lightning puts its own handlers in place when a fit begins."""
        if self._previous:
            for signum in HEARD:
                signal.signal(signum, self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is not None:  # asked twice: do not wait for the step's end
            raise Stopped(signum)
        self._signum = signum

    def check(self) -> None:
        """Raise Stopped if a signal was heard."""
        if self._signum is not None:
            raise Stopped(self._signum)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}

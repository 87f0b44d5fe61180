from __future__ import annotations

import os
import signal
import threading

import pytest

from lenet.core.errors import Stopped
from lenet.training.signals import HEARD, GracefulStop


@pytest.mark.parametrize("signum", HEARD)
def test_a_signal_is_noted_and_raised_where_it_is_safe(signum: signal.Signals) -> None:
    with GracefulStop() as interrupts:
        interrupts.check()
        os.kill(os.getpid(), signum)
        with pytest.raises(Stopped) as caught:
            interrupts.check()
    assert caught.value.signum == signum
    assert str(caught.value) == f"stopped by signal {int(signum)}"


def test_asked_twice_it_does_not_wait() -> None:
    with GracefulStop():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped) as caught:
            os.kill(os.getpid(), signal.SIGINT)
        assert caught.value.signum == signal.SIGINT


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(signum) for signum in HEARD]
    with GracefulStop():
        assert [signal.getsignal(signum) for signum in HEARD] != before
    assert [signal.getsignal(signum) for signum in HEARD] == before
    with pytest.raises(RuntimeError, match="oh"), GracefulStop():
        raise RuntimeError("oh")
    assert [signal.getsignal(signum) for signum in HEARD] == before


def test_listening_again_after_somebody_else_took_the_signals() -> None:
    with GracefulStop() as interrupts:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        interrupts.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            interrupts.check()


def test_off_the_main_thread_nothing_changes() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with GracefulStop() as interrupts:
            interrupts.listen()
            seen.append(signal.getsignal(signal.SIGTERM))
            interrupts.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_stopped_is_swallowed_by_no_handler_of_exceptions() -> None:
    assert not issubclass(Stopped, Exception)

from __future__ import annotations

import logging

import pytest

from lenet.core.log import configure_logging

logger = logging.getLogger("lenet.somewhere")


def test_messages_are_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    logger.debug("hidden")
    logger.info("one line")
    logger.warning("look")
    logger.error("wrong")
    logging.getLogger("other").info("not ours")
    assert capsys.readouterr() == ("", "one line\nwarning: look\nerror: wrong\n")


def test_a_worker_process_shows_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(logging.WARNING)
    logger.info("progress")
    logger.warning("look")
    assert capsys.readouterr().err == "warning: look\n"


def test_the_root_loggers_handlers_do_not_repeat_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    repeating = logging.StreamHandler()
    logging.getLogger().addHandler(repeating)
    try:
        configure_logging()
        logger.info("once")
    finally:
        logging.getLogger().removeHandler(repeating)
    assert capsys.readouterr().err == "once\n"


def test_no_message_shows_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logger.info("http://me:secret@host is away")
    try:
        raise ValueError("postgresql://me:secret@host")
    except ValueError:
        logger.exception("a traceback")
    shown = capsys.readouterr().err
    assert shown.startswith("http://me@host is away\nerror: a traceback\nTraceback")
    assert "secret" not in shown

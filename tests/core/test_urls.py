from __future__ import annotations

import pytest

from lenet.core import urls
from lenet.core.urls import taken_in, with_password, without_password


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://me:secret@host:5000/x", "http://me@host:5000/x"),
        ("https://me:s%40cret@host/x?a=b@c", "https://me@host/x?a=b@c"),
        ("http://me:12345@host", "http://me@host"),
        ("http://me:se@cret@host", "http://me@host"),
        ("http://me:se/cret@host", "http://me@host"),
        ("http://:secret@host", "http://host"),
        ("HTTP://me:secret@host", "HTTP://me@host"),
        ("postgresql://u:p/w?x#y@host/db", "postgresql://u@host/db"),
        ("postgresql+psycopg://u:1/2@host:5432/db", "postgresql+psycopg://u@host:5432/db"),
        ("postgresql://u@h/db?password=secret", "postgresql://u@h/db"),
        ("postgresql://h/db?user=u&password=secret&sslmode=require", "postgresql://h/db?user=u&sslmode=require"),
        ("postgresql://h/db?sslpassword=one&password=two&sslmode=require", "postgresql://h/db?sslmode=require"),
        (
            "said 'http://me:secret@host/api' and http://you:word@there:1",
            "said 'http://me@host/api' and http://you@there:1",
        ),
    ],
)
def test_no_password_is_left(url: str, plain: str) -> None:
    assert without_password(url) == plain
    assert without_password(plain) == plain


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1/runs?searchFilter=tags.x='a@b'",
        "http://user@host:5000",
        "https://host:5000, says me@home.org",
        "sqlite:////tmp/a:b@c.db",
        "postgresql+psycopg://user@host/database?sslmode=require",
        "models:/lenet5@champion",
        "no URL: me@host, password=x",
    ],
)
def test_what_has_no_password_stays(text: str) -> None:
    assert without_password(text) == text


def test_a_password_is_put_back_for_its_own_server_and_account_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "_typed", {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:5000")
    assert with_password("http://me@host:5000") == "http://me:secret@host:5000"
    assert with_password("http://host:5000/under") == "http://me:secret@host:5000/under"
    for other in ("http://you@host:5000", "http://host:5001", "https://me@host:5000", "http://else:5000", "http://h:x"):
        assert with_password(other) == other


def test_what_was_typed_is_remembered_by_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "_typed", {})
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    url = "postgresql://h/db?user=u&password=secret"
    assert taken_in(url) == "postgresql://h/db?user=u"
    assert with_password("postgresql://h/db?user=u") == url
    assert with_password("postgresql://h/other?user=u") == "postgresql://h/other?user=u"

"""URLs with a password: what is shown, stored and sent has none; it is put back where a connection is made.

A password comes from the environment, or from what was typed to this process, and goes nowhere else.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
STUDY_VARIABLE = "LENET_STUDY_STORAGE"
VARIABLES = (TRACKING_VARIABLE, STUDY_VARIABLE)
"""Environment variables whose URL may have a password."""

_DATABASE = r"(?:postgres|postgresql|mysql|mariadb|mssql|oracle)(?:\+\w+)?"
_PASSWORD = r"[^\s@]*@(?:[^\s/?#@]*@)*"  # noqa: S105  (a pattern; a `/` in it is against the rules, and typed all the same)
_ACCOUNTS = (
    re.compile(rf"(\b{_DATABASE}://[^\s/?#:@]*):{_PASSWORD}", re.IGNORECASE),
    re.compile(rf"(\b[a-z][a-z0-9+.-]*://[^\s/?#:@]*):(?!\d*(?:[/?#\s]|$)){_PASSWORD}", re.IGNORECASE),  # no port
)
_PAIR = re.compile(r"([?&])[^\s?&=#]*(?:password|passwd|pwd|secret|token|signature)=[^\s&#'\"]*(&?)", re.IGNORECASE)

_typed: dict[str, str] = {}
"""By what is left of it without its password: what was typed to this process."""


def without_password(text: str) -> str:
    """Return a URL, or a text with URLs in it, without the passwords: in `user:password@` and in `?password=…`."""
    for pattern in _ACCOUNTS:
        text = pattern.sub(lambda found: f"{found[1]}@" if not found[1].endswith("/") else found[1], text)
    while (less := _PAIR.sub(_without_pair, text)) != text:
        text = less
    return text


def _without_pair(found: re.Match[str]) -> str:
    before, after = found.groups()
    return before if after and before == "?" else after


def taken_in(url: str) -> str:
    """Return a URL without its password, which this process remembers for `with_password`."""
    plain = without_password(url)
    if plain != url:
        _typed[plain] = url
    return plain


def with_password(url: str) -> str:
    """Return a URL as one connects with it: with the password that was typed or stands in the environment for it.

    The same URL without its password is meant, or, over http, the same server and account.
    """
    known = [*_typed.values(), *filter(None, map(os.environ.get, VARIABLES))]
    for other in known:
        if without_password(other) == url:
            return other
    for other in known:
        if _is_account_of(other, url):
            return url.replace(urlsplit(url).netloc, urlsplit(other).netloc, 1)
    return url


def _is_account_of(known: str, url: str) -> bool:
    try:
        one, other = urlsplit(known), urlsplit(url)
        is_same_server = (one.scheme, one.hostname, one.port) == (other.scheme, other.hostname, other.port)
    except ValueError:  # no port, or no URL at all
        return False
    is_same_account = other.username in {None, one.username}
    return bool(one.password) and one.scheme in {"http", "https"} and is_same_server and is_same_account

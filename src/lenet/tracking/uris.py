"""Addresses of folders on this machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit


def local_path(uri: str) -> Path | None:
    """Return the folder that a `file:` URI or an absolute path names, or None where it is not on this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    return Path(uri) if not parts.scheme and uri.startswith("/") else None

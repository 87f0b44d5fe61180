"""A run's fingerprint: the sha256 of its config, its data and the code that trains.

The code is digested over syntax trees without docstrings, so that a comment or a line break changes nothing, and only
over the sources that training imports, followed from `lenet.training.fit` and from the network's own module without
running any of them: an edit of one network's file leaves the runs of the others as they are. A kernel's C
sources, less comments and space, count for the network that it knows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from lenet.config.networks import builder_module
from lenet.config.schema import Config
from lenet.core.atomic_io import canonical_json, sha256_bytes
from lenet.kernels.choice import KERNELS, resolve_kernel

PACKAGE = Path(__file__).parents[1]
START = "lenet.training.fit"
COUNTED = ("lenet.data", "lenet.models", "lenet.kernels", "lenet.training")
"""Packages whose sources can change what is trained; the config is part of the fingerprint by its values."""

IGNORED_FIELDS = frozenset({"type_comment", "kind", "type_ignores", "type_params", "ctx"})
"""Fields of a syntax tree that change nothing or that only some Python versions have."""


def fingerprint(config: Config, data_digest: str, code: str | None = None) -> str:
    """Return a run's identity, 64 hexadecimal digits.

    Args:
        config: the run's config, of which only `identity()` counts, with the kernel that trains it here.
        data_digest: digest of the prepared training data, from its card.
        code: digest of the training code; default: the installed one.
    """
    identity = resolve_kernel(config).identity()
    return digest_identity(identity, data_digest, code or code_digest(config.model.name))


def digest_identity(identity: dict[str, Any], data_digest: str, code: str) -> str:
    """Return the fingerprint of a config's identity, whatever version of lenet the config was made by."""
    return sha256_bytes(canonical_json({"config": identity, "data": data_digest, "code": code}).encode())


@cache
def code_digest(network: str) -> str:
    """Return the digest of the sources that the training of a network imports.

    Args:
        network: its name in the table of networks.
    """
    ignored = tuple(module for known, (module, _) in KERNELS.items() if known != network)
    return digest_sources(PACKAGE, (START, builder_module(network)), COUNTED, ignored)


def digest_sources(
    package: Path, start: tuple[str, ...], counted: tuple[str, ...] = COUNTED, ignored: tuple[str, ...] = ()
) -> str:
    """Return the digest of the counted sources; arguments as those of `source_trees`."""
    return sha256_bytes(canonical_json(source_trees(package, start, counted, ignored)).encode())


def source_trees(
    package: Path, start: tuple[str, ...], counted: tuple[str, ...], ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the syntax trees of the counted modules that `start` imports, itself included, as plain values.

    Args:
        package: the folder of a `lenet` package; nothing of it is run.
        start: the modules that the imports are followed from.
        counted: packages and modules that count; what others import is not looked at.
        ignored: those among them that do not.
    """
    trees: dict[str, Any] = {}
    waiting = list(start)
    while waiting:
        module = waiting.pop()
        path = _source(package, module)
        if path is None or module in trees:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        trees[module] = _plain(_without_docstrings(tree))
        for source in (source for caller, source in KERNELS.values() if caller == module):
            trees |= _c_sources(path.with_name(source))
        package_name = module.rpartition(".")[0]  # Python runs it first
        names = (package_name, *_imported(tree))
        waiting += [name for name in names if _is_in(name, counted) and not _is_in(name, ignored)]
    return trees


def _is_in(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def _source(package: Path, module: str) -> Path | None:
    base = package.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None  # a name within a module, not a module


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return tree


def _c_sources(source: Path) -> dict[str, str]:
    """Return a C source and what it includes of its folder, by name, without comments."""
    text = _without_comments(source)
    found = {source.name: text}
    for name in re.findall(r'#include "([^"]+)"', text):
        found |= _c_sources(source.with_name(name))
    return found


def _without_comments(source: Path) -> str:
    return " ".join(re.sub("//.*", "", source.read_text(encoding="utf-8")).split())


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _plain(node: Any) -> Any:
    """Return a syntax tree as lists and texts, the same in every Python version."""
    if isinstance(node, ast.AST):
        pairs = [(name, _plain(value)) for name, value in ast.iter_fields(node) if name not in IGNORED_FIELDS]
        return [type(node).__name__, *([name, value] for name, value in pairs if value not in (None, []))]
    if isinstance(node, list):
        return [_plain(item) for item in node]
    return None if node is None else repr(node)

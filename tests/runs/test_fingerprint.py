from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import lenet
from lenet.config.schema import Config
from lenet.kernels.choice import KERNELS
from lenet.runs.fingerprint import COUNTED as COUNTED_PACKAGES
from lenet.runs.fingerprint import START as FIT
from lenet.runs.fingerprint import code_digest, digest_sources, fingerprint
from sources import edit

START = (FIT, "lenet.models.lenet5")
OWN, OTHERS = KERNELS["lenet5"][0], (KERNELS["lenet5_1998"][0],)
PACKAGE = Path(lenet.__file__).parent
COUNTED = ("training/fit.py", "training/optimizers.py", "models/layers.py", "data/loader.py", "data/augment.py")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    copy = tmp_path / "lenet"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_it_is_64_digits_of_config_data_and_code(make_config: Callable[..., Config]) -> None:
    config = make_config()
    first = fingerprint(config, "data", "code")
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    assert first == fingerprint(make_config(), "data", "code")
    others = [fingerprint(config, "other", "code"), fingerprint(config, "data", "other")]
    others.append(fingerprint(make_config(seed=2), "data", "code"))
    assert len({first, *others}) == 4


def test_the_installed_code_counts_where_none_is_named(make_config: Callable[..., Config]) -> None:
    config = make_config()
    assert fingerprint(config, "data") == fingerprint(config, "data", code_digest("lenet5"))
    assert code_digest("lenet5") == digest_sources(PACKAGE, START, COUNTED_PACKAGES, OTHERS)


def test_a_copy_has_the_same_digest(package: Path) -> None:
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) == code_digest("lenet5")


def test_comments_of_the_kernel_change_nothing_and_its_statements_lenet5_alone(package: Path) -> None:
    source = package / "kernels" / "lenet5.c"
    edit(source, "// of the input", "// of another name")
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) == code_digest("lenet5")
    others = digest_sources(package, START, COUNTED_PACKAGES, (*OTHERS, OWN))
    edit(source, "VARIANCE_ADDED 1e-5f", "VARIANCE_ADDED 2e-5f")
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) != code_digest("lenet5")
    assert digest_sources(package, START, COUNTED_PACKAGES, (*OTHERS, OWN)) == others


@pytest.mark.parametrize("name", COUNTED)
def test_comments_docstrings_and_formatting_change_nothing(package: Path, name: str) -> None:
    path = package / name
    before = digest_sources(package, START, COUNTED_PACKAGES, OTHERS)
    path.write_text("# a comment\n\n" + path.read_text(encoding="utf-8") + "\n\n# the end\n", encoding="utf-8")
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) == before
    tree = ast.parse(path.read_text(encoding="utf-8"))
    path.write_text(ast.unparse(tree), encoding="utf-8")  # other line breaks, quotes and brackets, no comment
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) == before
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Expr(ast.Constant("another docstring"))
    path.write_text(ast.unparse(tree), encoding="utf-8")
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("models/layers.py", "1.7159", "1.7158"),
        ("models/lenet5.py", "nn.Linear(maps, 120)", "nn.Linear(maps, 121)"),
        ("data/loader.py", "1_000_003", "1_000_033"),
        ("data/augment.py", "2 * self.shift + 1", "2 * self.shift"),
        ("data/split.py", "ORDER_SEED = 1998", "ORDER_SEED = 1999"),
        ("training/optimizers.py", "momentum=config.momentum,", ""),
        ("training/steps.py", "self._optimizer.zero_grad()", "pass"),
        ("kernels/lenet5.c", "NEW_SHARE 0.1f", "NEW_SHARE 0.2f"),
        ("training/fit.py", '"bf16": "bf16-mixed"', '"bf16": "bf16-true"'),
    ],
)
def test_a_changed_constant_or_statement_changes_it(package: Path, name: str, old: str, new: str) -> None:
    before = digest_sources(package, START, COUNTED_PACKAGES, OTHERS)
    edit(package / name, old, new)
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) != before


@pytest.mark.parametrize(
    "name",
    [
        "tracking/store.py",
        "runs/run_dir.py",
        "cli.py",
        "evaluation/plots/run.py",
        "data/download/http.py",
        "data/download/fetch.py",
    ],
)
def test_code_that_training_does_not_import_does_not_count(package: Path, name: str) -> None:
    before = digest_sources(package, START, COUNTED_PACKAGES, OTHERS)
    (package / name).write_text("broken = (", encoding="utf-8")
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) == before


def test_a_new_module_counts_once_it_is_imported(package: Path) -> None:
    before = digest_sources(package, START, COUNTED_PACKAGES, OTHERS)
    (package / "models" / "extra.py").write_text("SCALE = 2\n")
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) == before
    path = package / "models" / "layers.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\nfrom lenet.models import extra\n", encoding="utf-8")
    imported = digest_sources(package, START, COUNTED_PACKAGES, OTHERS)
    assert imported != before
    (package / "models" / "extra.py").write_text("SCALE = 3\n")
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) != imported


def test_a_renamed_variable_changes_it(package: Path) -> None:
    before = digest_sources(package, START, COUNTED_PACKAGES, OTHERS)
    path = package / "data" / "augment.py"
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace("count, channels", "number, channels")
        .replace("zeros(count", "zeros(number"),
        encoding="utf-8",
    )
    assert digest_sources(package, START, COUNTED_PACKAGES, OTHERS) != before

"""What a user sees: a sweep typed at a shell, its printed link opened in a browser."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests
import yaml

from lenet.core.atomic_io import sha256_bytes
from lenet.core.project import Project
from lenet.data.idx import to_idx
from lenet.registry.packaging import pack_version
from lenet.registry.register import register
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import CHALLENGER, CHAMPION
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store import open_store, tracking_uri
from lenet.tracking.ui_links import charts_link

ROOT = Path(__file__).parents[2]
CLASSES = 4
FILES = {
    "train_images": ("blobs-train-images", 240),
    "train_labels": ("blobs-train-labels", 240),
    "test_images": ("blobs-test-images", 40),
    "test_labels": ("blobs-test-labels", 40),
}
MODEL = "digits"
WORDS = ["data=blobs", "model.activation=tanh,relu", "trainer.epochs=2"]


def load_screenshots() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshots", ROOT / "docs" / "screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


screenshots = load_screenshots()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        screenshots.find_chromium() is None, reason="no Chromium: apt-get install chromium, or set LENET_CHROMIUM"
    ),
]


@dataclass(frozen=True)
class Sweep:
    project: Path
    said: str

    @property
    def link(self) -> str:
        found = re.search(r"compare: (http://\S+)", self.said)
        assert found, self.said
        return found[1]

    @property
    def fingerprints(self) -> list[str]:
        return sorted(path.name for path in (self.project / "runs").iterdir() if len(path.name) == 64)


def write_blobs(project: Path) -> None:
    """Write a data set of bright squares, one place a class, as IDX files in a folder that its config names."""
    draw = np.random.default_rng(5)
    contents = {}
    for part in ("train", "test"):
        count = FILES[f"{part}_labels"][1]
        labels = draw.integers(0, CLASSES, count, dtype=np.uint8)
        images = draw.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            top, left = 4 + 12 * (label // 2), 4 + 12 * (label % 2)
            image[top : top + 8, left : left + 8] += 180
        contents |= {f"{part}_images": to_idx(images), f"{part}_labels": to_idx(labels)}
    folder = project / "given"
    folder.mkdir()
    origin: dict[str, object] = {"sources": [{"name": "folder", "path": str(folder)}]}
    for role, content in contents.items():
        name = FILES[role][0]
        (folder / name).write_bytes(content)
        origin[role] = {"name": name, "sha256": sha256_bytes(content)}
    body = {
        "name": "blobs",
        "channels": 1,
        "height": 28,
        "width": 28,
        "classes": [f"blob {number}" for number in range(CLASSES)],
        "train_size": None,
        "validation_size": 40,
        "origin": origin,
    }
    (project / "conf" / "data" / "blobs.yaml").write_text(yaml.safe_dump(body))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    project = tmp_path_factory.mktemp("fresh") / "project"
    project.mkdir()
    shutil.copytree(ROOT / "conf", project / "conf")
    for name in ("train.py", "params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, project / name)
    write_blobs(project)
    environment = {
        name: value for name, value in os.environ.items() if name not in {"LENET_HOME", "MLFLOW_TRACKING_URI"}
    }
    done = subprocess.run(
        [sys.executable, "train.py", "-m", *WORDS],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Sweep(project, done.stdout)


@pytest.fixture(scope="module")
def printed(sweep: Sweep) -> object:
    """The link that `lenet ui` prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LENET_HOME", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with screenshots.serving(sweep.project, screenshots.free_port()) as printed:
            yield printed


@pytest.fixture(scope="module")
def address(printed: str) -> str:
    return printed.partition("/#")[0]


def listening(port: int) -> set[str]:
    """Return the addresses on which somebody of this machine listens at `port`, as Linux writes them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            local, _, state = line.split()[1:4]
            host, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(host)
    return found


def curves_of(page: Any, metric: str) -> str:
    """Wait for two curves of a metric in the first section of charts, and return what the chart says."""
    chart = page.get_by_test_id("experiment-view-compare-runs-card").filter(has_text=metric).first
    chart.locator(".scatterlayer .trace").nth(1).wait_for(state="attached")
    return str(chart.inner_text())


def test_the_sweeps_link_opens_on_the_validation_error_of_its_runs(sweep: Sweep, address: str) -> None:
    link = sweep.link.replace("http://127.0.0.1:5000", address)
    with screenshots.browsing(1600) as page:
        page.goto(link)
        chart = curves_of(page, "val/error")
        first = page.get_by_test_id("experiment-view-compare-runs-card").first.inner_text()
        page.get_by_text("2 matching runs").wait_for()
        row = page.get_by_role("row").filter(has_text="model.activation").first
        row.wait_for()
        differing = row.inner_text()
    assert first.startswith("val/error")
    assert "activation=tanh" in chart
    assert "activation=relu" in chart
    assert "tanh" in differing
    assert "relu" in differing


def test_every_click_from_the_printed_links_stays_with_training_runs(sweep: Sweep, printed: str, address: str) -> None:
    link = sweep.link.replace("http://127.0.0.1:5000", address)
    with screenshots.browsing(1000) as page:
        for start in (printed, link):
            page.goto("about:blank")
            page.goto(start)
            curves_of(page, "val/error")
            page.locator('a[href="#/experiments/1"]').first.click()  # the breadcrumb
            page.wait_for_url("**/#/experiments/1/runs*")
            page.get_by_role("link", name="activation=relu").first.wait_for()
            page.locator('a[href="#/experiments"]').last.click()
            page.get_by_role("row").filter(has_text="blobs").get_by_role("link").click()
            page.wait_for_url("**/#/experiments/1/runs*")
            page.get_by_role("link", name="activation=relu").first.click()
            page.get_by_text("model.activation").first.wait_for()
            assert page.get_by_text("Detect issues").count() == 0


def test_what_somebody_arranged_stays(address: str) -> None:
    with screenshots.browsing(1000) as page:
        page.goto(address)
        page.evaluate("localStorage.setItem('mlflow.workflowType_v1', '\"genai\"')")
        page.reload()
        assert page.evaluate("localStorage.getItem('mlflow.workflowType_v1')") == '"genai"'


def test_no_page_of_another_address_writes(address: str) -> None:
    answers = []
    for origin in ({"Origin": "http://127.0.0.1:1"}, {"Origin": "null"}, {"Origin": address}, {}):
        name = {"name": f"by {origin}"}
        where = f"{address}/api/2.0/mlflow/experiments/create"
        answers.append(requests.post(where, json=name, headers=origin, timeout=30).status_code)
    assert answers == [403, 403, 200, 200]


def test_only_this_machine_is_listened_to(sweep: Sweep, address: str) -> None:
    assert listening(int(address.rsplit(":", 1)[1])) == {"0100007F"}


def test_the_folders_are_the_runs_that_are_shown(sweep: Sweep, address: str) -> None:
    assert len(sweep.fingerprints) == 2
    with screenshots.browsing(1000) as page:
        for fingerprint in sweep.fingerprints:
            words = f"tags.`lenet.fingerprint` = '{fingerprint}'"
            page.goto(charts_link(address, "1", words))
            page.get_by_text("1 matching run").wait_for()


def test_the_registry_shows_who_is_champion(sweep: Sweep, address: str) -> None:
    project, uri = Project(sweep.project, sweep.project), tracking_uri(Project(sweep.project, sweep.project))
    for fingerprint in sweep.fingerprints:
        folder = RunDir(project.runs / fingerprint)
        place = RunSync(project, uri, folder.config().tracking.experiment).send(folder)
        with RegisteredModel(project, MODEL, uri) as registry:
            made, _ = register(registry, place, folder, lambda into, run=folder: pack_version(project, run, into), {})
        if made.number == "1":
            open_store(project, uri).set_registered_model_alias(MODEL, CHAMPION, made.number)
    with screenshots.browsing(1000) as page:
        page.goto(screenshots.model_address(address, MODEL))
        rows = page.get_by_role("row").filter(has_text="Version")
        rows.nth(1).wait_for()
        page.get_by_text(CHALLENGER).first.wait_for()
        shown = {number: page.get_by_role("row").filter(has_text=f"Version {number}").inner_text() for number in (1, 2)}
    assert CHAMPION in shown[1]
    assert CHALLENGER in shown[2]
    assert CHAMPION not in shown[2]

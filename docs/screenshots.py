"""The pictures of the documentation, taken from the MLflow UI as `lenet ui` serves it: compare, registry.

    make screenshots        # or: .venv/bin/python docs/screenshots.py

Shows the pipeline's runs (`dvc repro` first). `--filter` shows others, in MLflow's own words:

    python docs/screenshots.py --filter "params.seed = '1'"

Needs a Chromium: LENET_CHROMIUM, or one on the PATH. A test uses `serving` and `browsing` as well.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

from lenet.config.params import read_params
from lenet.core.cli_errors import exit_on_error
from lenet.core.errors import LenetError
from lenet.core.project import Project, find_project
from lenet.pipeline.stages import PIPELINE
from lenet.runs.run_dir import FINISHED, RunDir, all_runs
from lenet.tracking.run_ref import MlflowRunRef, recorded_run_ref
from lenet.tracking.store import tracking_uri
from lenet.tracking.ui_links import UI_HOST, WORKFLOW, charts_link, runs_link

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM_VARIABLE = "LENET_CHROMIUM"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_WORDS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
WIDTH = 1640
SERVER_SECONDS = 90.0
PAGE_SECONDS = 60.0
SETTLE_MILLISECONDS = 1500
"""Charts glide into place."""

CHARTS_PIXELS, REGISTRY_PIXELS = 1200, 620
MAX_BYTES = 400_000
DOCS = Path(__file__).resolve().parent


def find_chromium() -> str | None:
    """Return a Chromium to drive, LENET_CHROMIUM's first; None where there is none."""
    named = os.environ.get(CHROMIUM_VARIABLE)
    return shutil.which(named) if named else next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def need_chromium() -> str:
    """Return a Chromium.

    Raises:
        LenetError: there is none.
    """
    found = find_chromium()
    if found is None:
        raise LenetError(f"no Chromium here: install one (Debian: apt-get install chromium) or set {CHROMIUM_VARIABLE}")
    return found


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((UI_HOST, 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(root: Path, port: int) -> Iterator[str]:
    """Run `lenet ui` for the project in `root` and give the link it prints once it answers; it ends with the block.

    Raises:
        LenetError: it ended, or does not answer in time.
    """
    address = f"http://{UI_HOST}:{port}"
    command = [sys.executable, "-m", "lenet", "ui", "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output.txt"  # not a pipe, which the server's log would fill
        with (
            output.open("wb") as stream,
            subprocess.Popen(command, cwd=root, stdout=stream, stderr=subprocess.STDOUT) as process,
        ):
            try:
                _wait_until_healthy(address, process, output)
                yield next(word for word in output.read_text().split() if word.startswith(address))
            finally:
                process.terminate()


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], output: Path) -> None:
    opener, end = build_opener(ProxyHandler({})), time.monotonic() + SERVER_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise LenetError(f"`lenet ui` ended: {' '.join(output.read_text().split())}")
        try:
            with opener.open(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise LenetError(f"`lenet ui` does not answer at {address} within {SERVER_SECONDS:.0f} s")


@contextmanager
def browsing(height: int) -> Iterator[Page]:
    """Give a page of a headless Chromium that reaches this machine and nothing else; MLflow's assistant stays closed.

    Args:
        height: of the window in pixels.

    Raises:
        LenetError: there is no Chromium.
    """
    chromium = need_chromium()
    from playwright.sync_api import sync_playwright

    words = [*CHROMIUM_WORDS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    stored = {"mlflow.assistant.panelOpen_v1": "false", "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=words)
        page = browser.new_page(viewport={"width": WIDTH, "height": height})
        page.set_default_timeout(PAGE_SECONDS * 1000)
        page.route(lambda url: f"//{UI_HOST}:" not in url, lambda route: route.abort())
        page.add_init_script(
            f"for (const [key, value] of Object.entries({json.dumps(stored)})) localStorage.setItem(key, value)"
        )
        try:
            yield page
        finally:
            browser.close()


def shown_runs(project: Project, sweep: str) -> list[tuple[RunDir, MlflowRunRef]]:
    """Return the finished runs that a sweep or the pipeline asked for, with where MLflow shows them.

    Raises:
        LenetError: there is none.
    """
    found = []
    for folder in all_runs(project):
        identity = folder.identity()
        if folder.state() == FINISHED and sweep in identity["sweeps"]:
            place = recorded_run_ref(folder, tracking_uri(project, identity["config"]["tracking"]["uri"]))
            if place is not None:
                found.append((folder, place))
    if not found:
        raise LenetError(f"no finished run of the sweep {sweep!r}; `dvc repro` makes those of the pipeline")
    return found


def model_address(address: str, model: str) -> str:
    """Return the address of a registered model's versions with their aliases."""
    return f"{address}/#/models/{quote(model)}?{WORKFLOW}"


def take(project: Project, sweep: str, words: str | None, folder: Path) -> None:
    """Write the pictures into `folder`: the charts of one run a variant, as a sweep's link opens them; the registry."""
    need_chromium()  # before a server is started
    runs = shown_runs(project, sweep)
    experiment = runs[0][1].experiment_id
    by_seed: dict[int, list[str]] = {}
    for folder_of, place in runs:
        by_seed.setdefault(int(folder_of.identity()["config"]["seed"]), []).append(place.run_id)
    most = max(map(len, by_seed.values()))
    with serving(project.root, free_port()) as printed:
        address = printed.partition("/#")[0]
        links = [runs_link(address, experiment, one) for one in by_seed.values() if len(one) == most]
        if words:
            links = [charts_link(address, experiment, words)]
        with browsing(CHARTS_PIXELS) as page:
            _open_charts(page, max(links, key=lambda one: _open_charts(page, one)))
            page.get_by_label("Toggle sidebar").click()
            _write(page, folder / "compare.png")
        with browsing(REGISTRY_PIXELS) as page:
            page.goto(model_address(address, read_params(project).register.model))
            page.get_by_text("champion").first.wait_for()
            page.get_by_label("Toggle sidebar").click()
            _write(page, folder / "registry.png")


def _open_charts(page: Page, address: str) -> float:
    """Open a page of charts; return how far apart its most similar colours are, drawn by MLflow from the runs' ids."""
    page.goto(address)
    page.reload()  # an address that differs only after its # loads nothing
    page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for()
    page.get_by_text("Show differences only").wait_for()
    shown = page.get_by_test_id("experiment-view-table-run-color").locator("input").all()
    colours = [bytes.fromhex(one.input_value().removeprefix("#")) for one in shown]
    return min((math.dist(one, other) for one, other in combinations(colours, 2)), default=0.0)


def _write(page: Page, path: Path) -> None:
    page.add_style_tag(content="[data-assistant-ui] {display: none}")  # floats over the charts
    page.wait_for_timeout(SETTLE_MILLISECONDS)
    page.screenshot(path=path)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise LenetError(f"{path}: has {size:,} bytes, more than {MAX_BYTES:,}; a README should load fast")
    print(f"wrote {path} ({size / 1000:.0f} kB)")


def main() -> None:
    """Take the pictures of the runs that the command line names."""
    parser = argparse.ArgumentParser(description="Take the documentation's pictures from the MLflow UI.")
    parser.add_argument("--sweep", default=PIPELINE, help="whose runs; default: %(default)s")
    parser.add_argument("--filter", dest="words", help="a filter of MLflow's instead")
    parser.add_argument("--to", type=Path, default=DOCS, help="folder; default: %(default)s")
    arguments = parser.parse_args()
    exit_on_error(lambda: take(find_project(DOCS), arguments.sweep, arguments.words, arguments.to))


if __name__ == "__main__":
    main()

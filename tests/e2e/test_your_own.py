"""docs/your-own.md as typed: a network of one's own, a data set of IDX files and one of PNG images, both in colour."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from shell import ROOT, Shell, copy_project

from lenet.core.atomic_io import read_json, sha256_bytes
from lenet.data.idx import to_idx

PAGE = (ROOT / "docs" / "your-own.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CLASSES = ("red", "green", "blue")
COUNTS = {"train": 240, "test": 60}
QUICK = "trainer=cpu trainer.epochs=2 trainer.batch_size=20 trainer.threads=1"


def files_of_the_page() -> dict[str, str]:
    """Return the blocks that name a file in their first line, without that line."""
    named = [(re.match(r"# (\S+/\S+\.\w+)\n", body), body) for kind, body in BLOCKS if kind in ("python", "yaml")]
    return {match[1]: body.split("\n", 1)[1] for match, body in named if match}


def colour_images(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return noise in which the channel of the class is bright: uint8 [n, 32, 32, 3] and labels [n]."""
    draw = np.random.default_rng(len(part))
    labels = (np.arange(COUNTS[part]) % len(CLASSES)).astype(np.uint8)
    images = draw.integers(0, 160, (len(labels), 32, 32, 3), dtype=np.uint8)
    images[np.arange(len(labels)), :, :, labels] += 90
    return images, labels


def add_data(root: Path, text: str) -> None:
    """Write the IDX files and conf/data/colours.yaml, with the files' folder and digests."""
    folder = root / "given"
    folder.mkdir()
    for part in COUNTS:
        for kind, array in zip(("images", "labels"), colour_images(part), strict=True):
            content = to_idx(array)
            (folder / f"{part}-{kind}.idx").write_bytes(content)
            text = text.replace(f"{part}_{kind}".upper(), sha256_bytes(content))
    (root / "conf" / "data" / "colours.yaml").write_text(text.replace("/path/to/the/files", str(folder)))


def add_pictures(root: Path, text: str) -> None:
    """Write the folder of PNG images and conf/data/pictures.yaml."""
    for part in COUNTS:
        for number, (image, label) in enumerate(zip(*colour_images(part), strict=True)):
            path = root / "pictures" / part / CLASSES[label] / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    (root / "conf" / "data" / "pictures.yaml").write_text(text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to which everything on the page was added."""
    root = copy_project(tmp_path_factory.mktemp("own") / "lenet-lab")
    files = files_of_the_page()
    table = root / "src/lenet/config/networks.py"
    line = files.pop("src/lenet/config/networks.py")
    text = table.read_text()
    table.write_text(text.replace("NETWORKS = {\n", f"NETWORKS = {{\n{line}"))
    add_data(root, files.pop("conf/data/colours.yaml"))
    add_pictures(root, files.pop("conf/data/pictures.yaml"))
    for name, body in files.items():
        (root / name).write_text(body)
    return root


@pytest.fixture(scope="module")
def shell(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(root, tmp_path_factory.mktemp("home"))


def errors(shell: Shell, **config: str) -> dict[str, float]:
    """Return the last validation error of the finished runs on a data set, by fingerprint."""
    found = {}
    for path in shell.run_folders():
        run = read_json(path / "run.json")["config"]
        if all(run[group]["name"] == name for group, name in config.items()):
            found[path.name] = float(read_json(path / "history.json")["epochs"][-1]["val/error"])
    return found


def test_the_network_trains_and_sweeps_and_its_knobs_are_checked(shell: Shell) -> None:
    shell.run(f"python train.py experiment=mlp data=colours {QUICK}")
    swept = shell.run(f"python train.py -m experiment=mlp data=colours model.width=32,64 {QUICK}")
    assert "already trained" in swept.stdout + swept.stderr
    found = errors(shell, data="colours", model="mlp")
    assert len(found) == 2
    assert max(found.values()) < 20
    wrong = shell.run(f"python train.py experiment=mlp data=colours model.width=0 {QUICK}", check=False)
    assert (wrong.returncode, "model.width=0" in wrong.stderr) == (2, True), wrong.stderr
    typo = shell.run(f"python train.py experiment=mlp data=colours +model.widht=9 {QUICK}", check=False)
    assert "did you mean 'width'" in typo.stderr, typo.stderr
    other = shell.run(f"python train.py model=mlpp {QUICK}", check=False)
    assert other.returncode != 0
    assert "mlp" in other.stderr


def test_lenet5_trains_on_colour_images_of_both_kinds_and_they_are_the_same_images(shell: Shell) -> None:
    for name in ("colours", "pictures"):
        shell.run(f"python train.py experiment=lenet5_relu data={name} {QUICK}")
    both = errors(shell, model="lenet5")
    assert len(both) == 2
    assert max(both.values()) < 20
    cards = [read_json(shell.root / "data/prepared" / name / "card.json") for name in ("colours", "pictures")]
    assert cards[0]["image_shape"] == cards[1]["image_shape"] == [3, 32, 32]
    assert cards[0]["counts"]["train"] == cards[1]["counts"]["train"]


def test_an_edit_of_one_network_trains_its_own_runs_again_and_no_other(shell: Shell) -> None:
    path = shell.root / "src/lenet/models/mlp.py"
    before = set(errors(shell, data="colours"))
    path.write_text(path.read_text().replace("nn.ReLU()", "nn.Tanh()"))
    shell.run(f"python train.py experiment=lenet5_relu data=colours {QUICK}")
    assert set(errors(shell, data="colours")) == before
    shell.run(f"python train.py experiment=mlp data=colours {QUICK}")
    assert len(errors(shell, data="colours")) == len(before) + 1


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_whole_pipeline_runs_on_them_and_speaks_of_them(shell: Shell) -> None:
    params = yaml.safe_load((shell.root / "params.yaml").read_text())
    params |= {"data": "colours", "variants": ["mlp", "lenet5_relu"], "seeds": [1, 2], "overrides": QUICK.split()}
    params["search"] |= {"name": "own", "trials": 3, "workers": 1}
    params["refit"] |= {"candidates": 1, "seeds": [11, 12], "confirm": [1, 2], "baseline": "mlp"}
    params["gate"] |= {"margin_points": 20, "floor_error_percent": 60}
    params["register"]["model"] = "colours"
    (shell.root / "params.yaml").write_text(yaml.safe_dump(params))
    search = yaml.safe_load((shell.root / "conf/search/recipe.yaml").read_text())
    search |= {"name": "own", "base": ["experiment=mlp", *QUICK.split()], "epochs": 2, "pruner": "none"}
    search["space"] = {"model": {"width": {"choices": [16, 32, 64]}}}
    (shell.root / "conf/search/own.yaml").write_text(yaml.safe_dump(search))
    for stage in ("search", "evaluate", "report"):
        shell.run(f"dvc repro {stage}")
    evaluation = read_json(shell.root / "results/evaluation.json")
    assert set(evaluation["variants"]) == {"mlp", "lenet5_relu", "refitted"}
    assert "is the champion" in shell.run("lenet gate").stdout
    text = "".join((shell.root / f"results/{name}.md").read_text() for name in ("report", "model_card"))
    assert "3 channels of 32×32 bytes" in text
    assert re.findall(r"digit|LeNet-5 on|28×28|handwrit", text) == []
    assert re.findall(r"^\| (red|green|blue) \|", text, re.MULTILINE) == list(CLASSES)
    compared = shell.run("lenet compare experiment=mlp,model.width=64 experiment=lenet5_relu").stdout
    assert "support no claim" in compared  # of two seeds

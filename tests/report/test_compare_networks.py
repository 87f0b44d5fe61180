from __future__ import annotations

import re

import pytest

from lenet.core.atomic_io import write_json
from lenet.core.errors import LenetError
from lenet.data.arrays import read_card
from lenet.report.compare_networks import compare_networks
from showcase import MODEL, Showcase, files, flip, make_champion


def page(showcase: Showcase, a: str, b: str) -> str:
    return compare_networks(showcase.project, showcase.params, (a, b))


def test_both_errors_their_difference_and_its_test(showcase: Showcase) -> None:
    worse, better = showcase.run(3, 4), showcase.run(5)
    text = page(showcase, worse.fingerprint[:8], better.fingerprint)
    lines = text.splitlines()
    assert lines[0] == "B misclassifies 10 images fewer than A: not significant (p = 0.099)."
    assert lines[2] == f"100 test images of tiny (digest {_digest(showcase)})"
    rows = [re.split(r"\s{2,}", line) for line in lines[4:6]]
    assert rows == [
        ["A", f"{worse.short} (blind to (3, 4) trace=0)", "20", "20.00", "12.67 to 29.18", _sha(worse)],
        ["B", f"{better.short} (blind to (5,) trace=0)", "10", "10.00", "4.90 to 17.62", _sha(better)],
    ]
    assert "misclassified by both 0, by A alone 20, by B alone 10" in lines
    assert "A - B: +10.00 points of error, 95 % score interval -0.77 to +20.82" in lines
    assert "nothing of two recipes" in text
    assert " 0 networks are on record" in " ".join(text.split())


def test_networks_that_the_test_set_was_used_for_are_counted(showcase: Showcase) -> None:
    a, b = showcase.run(3), showcase.run(5)
    digest = read_card(showcase.project.prepared("tiny"))["test_digest"]
    for run, seen in ((a, digest), (b, "of other images")):
        body = {"test_digest": seen, "measures": {"test/error": 10.0}, "interval": [4.9, 17.6], "evaluated": 0.0}
        run.write("evaluation.json", body)
    rows = [{"fingerprint": a.fingerprint}, {"fingerprint": "trained elsewhere"}]
    body = {"test_digest": digest, "variants": {"lenet5": {"runs": rows}}}
    write_json(showcase.project.root / "results/evaluation.json", body)
    assert "Test errors of 2 networks" in " ".join(page(showcase, a.fingerprint, b.fingerprint).split())


def _digest(showcase: Showcase) -> str:
    return str(read_card(showcase.project.prepared("tiny"))["test_digest"])[:12]


def _sha(folder: object) -> str:
    return str(folder.status()["files"]["weights.safetensors"])[:12]  # type: ignore[attr-defined]


def test_versions_and_runs_by_any_name(showcase: Showcase) -> None:
    make_champion(showcase, 3, 4)
    run = showcase.run()
    showcase.register()
    showcase.register(7, model="letters")
    for name in ("2", "@challenger", f"{MODEL}/2", f"{MODEL}@challenger", run.fingerprint[:10]):
        text = page(showcase, "@champion", name)
        assert text.startswith("B misclassifies 20 images fewer than A: significant (p = 2e-06).")
    assert page(showcase, "letters/1", "2").startswith("B misclassifies 10 images fewer")
    assert page(showcase, "2", run.fingerprint).startswith("A and B are the same weights.")
    equal = page(showcase, "letters/1", showcase.run(4).fingerprint)
    assert equal.startswith("A and B misclassify 10 images each.")


def test_two_runs_are_compared_without_the_server(showcase: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    a, b = showcase.run(3), showcase.run(3, trace=0.5)
    assert page(showcase, a.fingerprint, b.fingerprint).startswith("A and B misclassify 10 images each.")
    with pytest.raises(LenetError, match=r"^MLflow at http://127\.0\.0\.1:9: .*; start it and run the command again$"):
        page(showcase, a.fingerprint, "@champion")


def test_what_cannot_be_compared_is_one_line(showcase: Showcase) -> None:
    make_champion(showcase, 3)
    for name, message in (
        ("2", "^2: is no version of classifier; its versions: 1 "),
        ("@previous", "^@previous: is no version of classifier"),
        ("letters/1", "^letters/1: is no version of letters; its versions: none"),
        ("abcdef", "^abcdef: is unknown"),
        ("best one", "^best one: give the start of"),
    ):
        with pytest.raises(LenetError, match=message):
            page(showcase, "1", name)
    run = showcase.run(5)
    flip(run.path / "weights.safetensors")
    with pytest.raises(LenetError, match=r"weights\.safetensors: sha256 is"):
        page(showcase, "1", run.fingerprint)
    flip(files(showcase, "1") / "weights.safetensors")
    assert page(showcase, "1", "1").startswith("A and B are the same weights.")  # from its run's folder
    flip(showcase.run(3).path / "status.json")
    with pytest.raises(LenetError, match="version 1 is refused"):
        page(showcase, "1", "1")

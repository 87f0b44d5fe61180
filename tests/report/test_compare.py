from __future__ import annotations

import re

import pytest

from lenet.core.errors import LenetError
from lenet.report.compare import compare_networks
from showcase import MODEL, Showcase, crowned, flip, packed


def page(showcase: Showcase, a: str, b: str) -> str:
    return compare_networks(showcase.project, showcase.params, (a, b), lambda line: None)


def test_the_page(showcase: Showcase) -> None:
    worse, better = showcase.run(3, 4), showcase.run(5)
    assert page(showcase, worse.fingerprint[:8], better.fingerprint).splitlines()[:8] == [
        "B misreads 10 images fewer than A; more than chance is not shown (p = 0.099).",
        "",
        f"100 test images of tiny (digest {_digest(showcase)})",
        f"  A  {worse.short} (blind to (3, 4) trace=0)  20 misread  20.00 %  (12.67 to 29.18)  weights {_sha(worse)}",
        f"  B  {better.short} (blind to (5,) trace=0)    10 misread  10.00 %  (4.90 to 17.62)   weights {_sha(better)}",
        "",
        "misread by both 0, by A alone 20, by B alone 10",
        "A - B: +10.00 points of error, 95 % score interval -0.77 to +20.82",
    ]


def _digest(showcase: Showcase) -> str:
    from lenet.data.arrays import read_card

    return str(read_card(showcase.project.prepared("tiny"))["test_digest"])[:12]


def _sha(folder: object) -> str:
    return str(folder.status()["files"]["weights.safetensors"])[:12]  # type: ignore[attr-defined]


def test_versions_and_runs_by_any_name(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    run = showcase.run()
    showcase.register()
    showcase.register(7, model="letters")
    for name in ("2", "@challenger", f"{MODEL}/2", f"{MODEL}@challenger", run.fingerprint[:10]):
        told = page(showcase, "@champion", name)
        assert told.startswith("B wins: it misreads 20 images fewer than A, which is hardly chance (p = 2e-06).")
    assert page(showcase, "letters/1", "2").startswith("B wins: it misreads 10 images fewer")
    assert page(showcase, "2", run.fingerprint).startswith("A and B are the same weights.")
    assert re.match("Neither wins: A and B misread 10 images each", page(showcase, "letters/1", _blind(showcase, 4)))


def _blind(showcase: Showcase, number: int) -> str:
    return showcase.run(number).fingerprint


def test_two_runs_are_compared_without_the_server(showcase: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    a, b = showcase.run(3), showcase.run(3, trace=0.5)
    assert page(showcase, a.fingerprint, b.fingerprint).startswith("Neither wins: A and B misread 10 images each.")
    with pytest.raises(LenetError, match=r"^MLflow at http://127\.0\.0\.1:9: .*; start it and ask again$"):
        page(showcase, a.fingerprint, "@champion")


def test_what_cannot_be_compared_is_one_line(showcase: Showcase) -> None:
    crowned(showcase, 3)
    for name, message in (
        ("2", r"^2: no version of digits is called so; there are 1"),
        ("@previous", r"^@previous: no version of digits is called so"),
        ("letters/1", r"^letters/1: no version of letters is called so; there are none"),
        ("abcdef", r"^abcdef: no run's fingerprint begins so"),
        ("best one", r"^best one: name a run by its fingerprint's start, or a version as 3, @champion, lenet5/3$"),
    ):
        with pytest.raises(LenetError, match=message):
            page(showcase, "1", name)
    run = showcase.run(5)
    flip(run.path / "weights.safetensors")
    with pytest.raises(LenetError, match=r"weights\.safetensors: sha256 is"):
        page(showcase, "1", run.fingerprint)
    flip(packed(showcase, "1") / "weights.safetensors")
    assert page(showcase, "1", "1").startswith("A and B are the same weights.")  # from its run's folder
    flip(showcase.run(3).path / "status.json")
    with pytest.raises(LenetError, match="version 1 is refused"):
        page(showcase, "1", "1")

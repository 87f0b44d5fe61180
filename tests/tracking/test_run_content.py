"""The difference between what a run of MLflow is to hold and what it holds; no store is opened."""

from __future__ import annotations

from dataclasses import replace

from lenet.core.atomic_io import sha256_bytes
from lenet.tracking.run_content import PARENT_TAG, Actual, Desired, Point, compare

OLD, NEW = Point("test/error", 2, 2.5, 1), Point("test/error", 2, 2.0, 2)
DESIRED = Desired(("key", "1"), "a run", "FINISHED", {"key": "1"}, points=[NEW], renewed=frozenset({"test/error"}))


def holding(*points: Point) -> Actual:
    actual = Actual("1", "1", "FINISHED", tags={"key": "1"})
    for point in points:
        actual.points.setdefault(point.name, []).append(point)
    return actual


def test_a_server_is_sent_a_newer_measurement_once() -> None:
    assert list(compare(DESIRED, holding(OLD), is_exact=False).points) == [NEW]
    assert list(compare(DESIRED, holding(OLD, NEW), is_exact=False).points) == []


def test_a_server_keeps_the_first_value_of_an_epoch_that_was_trained_again() -> None:
    assert list(compare(replace(DESIRED, renewed=frozenset()), holding(OLD), is_exact=False).points) == []


def test_a_home_of_its_own_holds_the_desired_points_alone() -> None:
    found = compare(DESIRED, holding(OLD, NEW), is_exact=True)
    assert (list(found.points), list(found.wrong_metrics)) == ([NEW], ["test/error"])
    assert compare(DESIRED, holding(NEW), is_exact=True).names() == []


def test_an_artifact_on_a_server_is_known_by_its_content() -> None:
    desired = replace(DESIRED, points=[], artifacts={"a.txt": b"new"})
    actual = holding()
    assert list(compare(desired, actual, is_exact=False).artifacts) == ["a.txt"]
    actual.sent = {"a.txt": sha256_bytes(b"old")}
    assert list(compare(desired, actual, is_exact=False).artifacts) == ["a.txt"]
    actual.sent = {"a.txt": sha256_bytes(b"new")}
    assert list(compare(desired, actual, is_exact=False).artifacts) == []


def test_the_digest_of_what_was_sent_knows_the_search() -> None:
    assert replace(DESIRED, study="a").digest() != DESIRED.digest()


def test_a_run_that_left_its_search_loses_its_parent() -> None:
    actual = holding(NEW)
    actual.tags[PARENT_TAG] = "7"
    assert list(compare(DESIRED, actual, is_exact=True).wrong_tags) == [PARENT_TAG]
    assert list(compare(DESIRED.nested_in("7"), actual, is_exact=True).wrong_tags) == []

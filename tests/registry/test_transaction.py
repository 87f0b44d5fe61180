from __future__ import annotations

from dataclasses import replace

import pytest

from lenet.core.errors import LenetError
from lenet.registry.history import HistoryEntry, read_history, write_intent
from lenet.registry.transaction import is_unsettled, settle_left
from lenet.tracking.store import open_store, tracking_uri
from showcase import MODEL, Showcase, aliases, ask, crowned, flip, packed, tags

BEFORE = {"champion": "1", "challenger": "2"}


@pytest.fixture
def half(showcase: Showcase) -> HistoryEntry:
    """The intent of a promotion of version 2, of which nothing is done yet."""
    crowned(showcase, 3, 4)
    showcase.register()
    (first,) = read_history(showcase.project)
    moved = {"champion": "2", "previous": "1", "challenger": None}
    intent = replace(first, number=2, before={"champion": "1", "previous": None, "challenger": "2"}, after=moved)
    intent = replace(intent, tags={"2": {"lenet.verdict": "promoted: better"}})
    write_intent(showcase.project, intent)
    return intent


def test_what_was_left_is_completed(showcase: Showcase, half: HistoryEntry, said: list[str]) -> None:
    settle_left(showcase.project, MODEL, said.append)
    assert aliases(showcase) == {"champion": "2", "previous": "1"}
    assert tags(showcase, "2")["lenet.verdict"] == "promoted: better"
    assert read_history(showcase.project)[-1] == half
    assert said == [f"promote of {MODEL} version 1 ({half.who}): was interrupted, is complete now"]
    settle_left(showcase.project, MODEL, said.append)
    assert len(said) == 1


def test_what_is_tampered_with_since_is_taken_back(showcase: Showcase, half: HistoryEntry, said: list[str]) -> None:
    client = open_store(showcase.project, tracking_uri(showcase.project))
    client.set_registered_model_alias(MODEL, "previous", "1")
    client.set_model_version_tag(MODEL, "2", "lenet.verdict", "promoted: better")
    flip(packed(showcase, "2") / "weights.safetensors")
    settle_left(showcase.project, MODEL, said.append)
    assert "is taken back: " in said[0]
    assert aliases(showcase) == BEFORE
    assert "lenet.verdict" not in tags(showcase, "2")
    last = read_history(showcase.project)[-1]
    assert (last.number, last.action) == (half.number, "undo")
    assert "version 2 is refused" in (last.reason or "")
    assert not is_unsettled(showcase.project)


def test_a_deleted_version_is_not_waited_for(showcase: Showcase, half: HistoryEntry, said: list[str]) -> None:
    client = open_store(showcase.project, tracking_uri(showcase.project))
    client.delete_model_version(MODEL, "2")
    settle_left(showcase.project, MODEL, said.append)
    assert said[0].endswith("is taken back: version 2 is not there any more")
    assert aliases(showcase) == {"champion": "1"}


def test_a_champion_that_somebody_chose_since_stays(showcase: Showcase, half: HistoryEntry, said: list[str]) -> None:
    showcase.register(4)
    client = open_store(showcase.project, tracking_uri(showcase.project))
    client.set_registered_model_alias(MODEL, "champion", "3")
    settle_left(showcase.project, MODEL, said.append)
    assert aliases(showcase)["champion"] == "3"
    assert read_history(showcase.project)[-1].action == "undo"


def test_an_undo_that_is_killed_is_completed(showcase: Showcase, half: HistoryEntry, said: list[str]) -> None:
    undo = replace(half, action="undo", before={"previous": "1"}, after={"previous": None}, tags={})
    client = open_store(showcase.project, tracking_uri(showcase.project))
    client.set_registered_model_alias(MODEL, "previous", "1")
    write_intent(showcase.project, undo)
    settle_left(showcase.project, MODEL, said.append)
    assert aliases(showcase) == BEFORE
    assert ask(showcase).done


def test_another_registrys_change_is_not_made_here(showcase: Showcase, half: HistoryEntry, said: list[str]) -> None:
    write_intent(showcase.project, replace(half, store="http://elsewhere"))
    with pytest.raises(LenetError, match=r"^promotions/intent\.json: a change of digits in http://elsewhere is half"):
        ask(showcase)
    assert aliases(showcase) == BEFORE


def test_what_a_killed_writer_left_is_cleared(showcase: Showcase, said: list[str]) -> None:
    crowned(showcase, 3)
    left = showcase.project.home / "promotions" / ".intent.json.123.partial"
    left.write_text("{")
    settle_left(showcase.project, MODEL, said.append)
    assert not left.exists()
    assert said == []
    assert not is_unsettled(showcase.project)

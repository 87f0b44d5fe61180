"""Two homes at one registry: the second one is the first whose own history is put away."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace

import pytest

from lenet.core.atomic_io import read_json, write_json
from lenet.core.errors import LenetError
from lenet.gate.evaluate import count_gate_uses
from lenet.gate.promote import ensure_champion, promote
from lenet.registry.history import HistoryEntry, read_history
from lenet.registry.history_tags import ELSEWHERE, change_tag, shared_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.rollback import rollback
from lenet.registry.show import show_registry
from lenet.tracking.store import open_store, tracking_uri
from showcase import MODEL, Showcase, aliases, ask, crowned, tags

LOCAL = ("number", "before", "after", "tags")


def shared(showcase: Showcase) -> list[HistoryEntry]:
    with RegisteredModel(showcase.project, MODEL) as shelf:
        return shared_history(shelf)


def move_house(showcase: Showcase) -> list[HistoryEntry]:
    """Put the home's history away, and return it."""
    entries, home = read_history(showcase.project), showcase.project.home
    (home / "promotions").rename(home / f"promotions-of-another-home-{len(list(home.glob('promotions*')))}")
    return entries


def told(entries: list[HistoryEntry]) -> list[str]:
    bodies = [{name: value for name, value in asdict(entry).items() if name not in LOCAL} for entry in entries]
    return sorted(json.dumps(body, sort_keys=True) for body in bodies)


def test_another_home_reads_all_of_it(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    showcase.register()
    ask(showcase)
    rollback(showcase.project, showcase.params, "it was slow", print)
    assert shared(showcase) == read_history(showcase.project)  # each entry once

    entries = move_house(showcase)
    found = shared(showcase)
    assert [entry.number for entry in found] == [ELSEWHERE] * 3
    assert told(found) == told(entries)
    page = show_registry(showcase.project, showcase.params, False, print)
    assert "it was slow" in page
    assert page.count("passed floor") == 2


def test_another_home_gives_a_champion_back_that_was_taken_away(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    version = showcase.register()
    ask(showcase)
    move_house(showcase)
    uri = tracking_uri(showcase.project)
    open_store(showcase.project, uri).delete_registered_model_alias(MODEL, "champion")
    answer = ensure_champion(showcase.project, showcase.params, "1", uri, print)
    assert answer is not None
    assert "is the champion again, as before it was lost" in answer.lines[0]
    assert aliases(showcase)["champion"] == version.number


def test_another_home_does_not_give_back_what_was_rolled_back(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    showcase.register()
    ask(showcase)
    rollback(showcase.project, showcase.params, None, print)
    move_house(showcase)
    uri = tracking_uri(showcase.project)
    open_store(showcase.project, uri).delete_model_version(MODEL, "1")  # with its tags, the rollback's among them
    answer = ensure_champion(showcase.project, showcase.params, "2", uri, print)
    assert answer is not None
    assert answer.judgement is not None  # the gate was asked


def test_a_home_knows_its_changes_whatever_the_registry_is_called_by_now(showcase: Showcase) -> None:
    crowned(showcase, 3)
    path = showcase.project.home / "promotions" / "0001-promote.json"
    write_json(path, read_json(path) | {"store": "https://registry.example"})
    client, (name, value) = open_store(showcase.project, tracking_uri(showcase.project)), first_tag(showcase)
    client.delete_model_version_tag(MODEL, "1", name)
    assert [entry.store for entry in shared(showcase)] == ["https://registry.example"]
    (entry,) = read_history(showcase.project)
    client.set_model_version_tag(MODEL, "1", *change_tag(entry))
    assert [entry.store for entry in shared(showcase)] == ["mlflow.db"]
    assert json.loads(value)["store"] == "mlflow.db"


def first_tag(showcase: Showcase) -> tuple[str, str]:
    return next((name, value) for name, value in tags(showcase, "1").items() if name.startswith("lenet.change."))


def test_a_copied_version_brings_nothing_twice_and_nothing_of_another_model(showcase: Showcase) -> None:
    crowned(showcase, 3)
    move_house(showcase)
    client, (name, value) = open_store(showcase.project, tracking_uri(showcase.project)), first_tag(showcase)
    copy = showcase.register(4).number
    client.set_model_version_tag(MODEL, copy, name, value)
    assert len(shared(showcase)) == 1
    showcase.register(5, model="others")
    client.set_model_version_tag("others", "1", name, value)
    with RegisteredModel(showcase.project, "others") as shelf:
        assert shared_history(shelf) == []


def test_the_uses_under_another_models_name_count_too(showcase: Showcase) -> None:
    crowned(showcase, 3)
    number = showcase.register(4, model="others").number
    params = replace(showcase.params, register=replace(showcase.params.register, model="others"))
    answer = ensure_champion(showcase.project, params, number, tracking_uri(showcase.project), print)
    assert answer is not None
    assert answer.judgement is not None
    assert answer.judgement.verdict.gate_uses == 1


def test_the_record_is_the_last_step_of_a_change(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    version = showcase.register()
    database = showcase.project.home / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        when = "before update on registered_model_aliases when new.alias = 'champion'"
        connection.execute(f"create trigger broken {when} begin select raise(abort, 'broken'); end")
    with pytest.raises(LenetError, match=r"ask again: the change is completed then$"):
        ask(showcase)
    assert aliases(showcase) == {"champion": "1", "challenger": version.number, "previous": "1"}
    assert tags(showcase, version.number)["lenet.verdict"] == "promoted: better"
    assert not [name for name in tags(showcase, version.number) if name.startswith("lenet.change.")]
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("drop trigger broken")
    assert ask(showcase).done
    assert aliases(showcase) == {"champion": version.number, "previous": "1"}
    assert [name for name in tags(showcase, version.number) if name.startswith("lenet.change.")]


def test_the_uses_of_the_images_add_up_over_homes(showcase: Showcase) -> None:
    crowned(showcase, 3)
    showcase.register(4)
    refused = ask(showcase)
    assert refused.judgement is not None
    move_house(showcase)
    assert ask(showcase).lines == refused.lines  # the same question, wherever it was asked first, is no new use
    assert read_history(showcase.project) == []
    showcase.register(5)
    third = promote(showcase.project, showcase.params, "3", None, print)
    assert third.judgement is not None
    assert third.judgement.verdict.gate_uses == 2
    with RegisteredModel(showcase.project, MODEL) as shelf:
        digest = third.judgement.test_digest
        assert count_gate_uses(shared_history(shelf), shelf.versions, digest, (None, None)) == 3


def test_what_is_here_and_what_is_elsewhere_stand_in_the_order_of_time(showcase: Showcase) -> None:
    crowned(showcase, 3)
    (first,) = read_history(showcase.project)
    client = open_store(showcase.project, tracking_uri(showcase.project))
    for when in ("2020-01-01T00:00:00+00:00", "2120-01-01T00:00:00+00:00"):
        client.set_model_version_tag(MODEL, "1", *change_tag(replace(first, when=when, who="them@elsewhere")))
    assert [entry.who for entry in shared(showcase)] == ["them@elsewhere", first.who, "them@elsewhere"]


def test_a_tag_that_cannot_be_read_is_told(showcase: Showcase) -> None:
    crowned(showcase, 3)
    client = open_store(showcase.project, tracking_uri(showcase.project))
    (first,) = read_history(showcase.project)
    undated = change_tag(replace(first, when="yesterday"))
    forged = change_tag(replace(first, who="somebody"))[0], change_tag(replace(first, who="somebody else"))[1]
    broken = {"lenet.change.0": "{", "lenet.change.1": "[]", "lenet.change.2": '{"old": 1}'} | dict([undated, forged])
    broken["lenet.change.3"] = '{"old": ' + "[" * 2000 + "]" * 2000 + "}"  # deeper than Python reads
    for name, value in broken.items():
        client.set_model_version_tag(MODEL, "1", name, value)
    found = [entry for entry in shared(showcase) if entry.action == "damaged"]
    assert {entry.reason for entry in found} == {
        f"{MODEL} version 1: its tag {name} is not what was written" for name in broken
    }
    assert "lenet.change.1 is not what was written" in show_registry(showcase.project, showcase.params, False, print)


def test_a_change_that_is_taken_back_leaves_no_tag(showcase: Showcase) -> None:
    from lenet.registry.alias_changes import new_entry
    from lenet.registry.transaction import recover, write_intent

    crowned(showcase, 3)
    version = showcase.register()
    with RegisteredModel(showcase.project, MODEL) as shelf:
        entry = new_entry(shelf, "promote", shelf.find(version.number), shelf.find("1"))
        name, value = change_tag(entry)
        entry.tags[version.number] = {name: value}
        entry.before["champion"], entry.after["champion"] = "9", version.number  # somebody has moved it since
        write_intent(showcase.project, entry)
        open_store(showcase.project, shelf.uri).set_model_version_tag(MODEL, version.number, name, value)
        shelf.look()
        recover(shelf, print)
    assert name not in tags(showcase, version.number)

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lenet.core.atomic_io import read_json
from lenet.core.errors import LenetError
from lenet.gate.promote import PromotionResult, ensure_champion, promote
from lenet.registry.history import read_history, who
from lenet.registry.manifest import write_manifest
from lenet.registry.rollback import rollback
from lenet.tracking.store import open_store, tracking_uri
from showcase import MODEL, Showcase, aliases, ask, crowned, flip, packed, tags


def test_the_first_needs_the_floor_alone_and_a_better_one_takes_its_place(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    assert aliases(showcase) == {"champion": "1"}
    assert showcase.register().aliases == ("challenger",)
    answer = ask(showcase)
    assert answer.done
    assert answer.lines[0] == (
        f"{MODEL} version 2 (blind to () trace=0) against {MODEL} version 1 (blind to (3, 4) trace=0),"
        " on 100 test images of tiny"
    )
    assert answer.lines[-1] == "promoted: version 2 is the champion, version 1 the previous one"
    assert [line.split(":")[0] for line in answer.lines[1:-2]] == [
        "  passed floor", "  passed champion", "  passed classes", "  passed quality",
    ]  # fmt: skip
    assert aliases(showcase) == {"champion": "2", "previous": "1"}

    first, second = read_history(showcase.project)
    assert (first.action, first.old, first.number) == ("promote", None, 1)
    assert (second.action, second.old and second.old.version, second.new and second.new.version) == (
        "promote",
        "1",
        "2",
    )
    assert second.new is not None
    assert (second.new.git_commit, second.new.data_digest) == ("c0ffee", tags(showcase, "2")["lenet.data_digest"])
    assert second.verdict is not None
    assert second.verdict["gate_uses"] == 1
    assert second.who == who()
    told = tags(showcase, "2")
    assert told["lenet.verdict"] == "promoted: better"
    assert (told["lenet.promoted_at"], told["lenet.promoted_by"]) == (second.when, second.who)
    assert told["lenet.replaced"] == "1"
    # what is sealed is what anybody may read
    path = showcase.project.home / "promotions" / "0002-promote.json"
    assert read_json(path)["verdict"] == second.verdict


def test_asked_again_nothing_is_done(showcase: Showcase) -> None:
    crowned(showcase, 3)
    assert ask(showcase, "1") == PromotionResult(
        True, (f"{MODEL} version 1 (blind to (3,) trace=0) is the champion already",)
    )
    assert ask(showcase).lines == (
        f"{MODEL} version 1 (blind to (3,) trace=0) is the champion; there is no challenger",
    )
    assert len(read_history(showcase.project)) == 1


def test_an_equal_one_is_refused_and_stays_the_challenger(showcase: Showcase) -> None:
    crowned(showcase, 3)
    showcase.register(4)
    answer = ask(showcase)
    assert not answer.done
    assert answer.lines[-1] == "refused (classes, quality): version 1 stays the champion"
    assert aliases(showcase) == {"champion": "1", "challenger": "2"}
    assert tags(showcase, "2")["lenet.verdict"] == "refused: classes, quality"
    assert [entry.action for entry in read_history(showcase.project)] == ["promote", "refuse"]
    # the same question has the same answer, and is one use of the images
    assert ask(showcase).lines == answer.lines
    assert [entry.action for entry in read_history(showcase.project)] == ["promote", "refuse"]
    # a reason spares the check for quality and no other
    assert ask(showcase, reason="new data").lines[-1] == "refused (classes): version 1 stays the champion"
    assert len(read_history(showcase.project)) == 3
    assert "were used 2 times before" in "".join(_third(showcase, 5).lines)


def _third(showcase: Showcase, *blind: int) -> PromotionResult:
    showcase.register(*blind)
    return ask(showcase)


def test_one_that_reads_all_alike_needs_a_reason(showcase: Showcase) -> None:
    crowned(showcase, 3)
    showcase.register(3, trace=0.5)
    answer = ask(showcase)
    assert not answer.done
    assert answer.lines[-1] == "refused (difference): version 1 stays the champion"
    assert ask(showcase, reason="a licence").done
    assert tags(showcase, "2")["lenet.verdict"] == "promoted: a licence"


def test_the_floor_holds_for_the_first_too(showcase: Showcase) -> None:
    number = showcase.register(1, 2, 3, 4).number
    answer = ensure_champion(showcase.project, showcase.params, number, tracking_uri(showcase.project), print)
    assert answer is not None
    assert answer.lines[-1] == "refused (floor): there is no champion yet"
    assert aliases(showcase) == {"challenger": "1"}
    assert not ask(showcase).done


def test_the_reference_is_never_left_behind(showcase: Showcase) -> None:
    best = showcase.run()
    crowned(showcase, 3, 4, 5)
    showcase.set_params(reference=best.fingerprint[:12], margin_points=20)
    showcase.register(3, 4)
    assert ask(showcase).lines[-1] == "refused (reference): version 1 stays the champion"
    entry = read_history(showcase.project)[-1]
    assert entry.reference == best.status()["files"]["weights.safetensors"]
    showcase.set_params(reference=f"{MODEL}/1")
    assert ask(showcase).done


def test_a_reference_whose_run_is_elsewhere_is_read_from_its_version(showcase: Showcase) -> None:
    best = showcase.run()
    showcase.register()
    crowned(showcase, 3, 4, 5)
    shutil.rmtree(best.path)
    showcase.set_params(reference=best.fingerprint[:12], margin_points=20)
    showcase.register(3, 4)
    assert ask(showcase).lines[-1] == "refused (reference): version 2 stays the champion"
    showcase.set_params(reference="abcdef")
    with pytest.raises(LenetError, match=r"^abcdef: no run's fingerprint begins so, nor that of a version of digits; "):
        ask(showcase)


@pytest.mark.parametrize(
    ("named", "complaint"),
    [
        (f"{MODEL}/3", "no version of digits is called so; there are 1, 2 "),
        ("@previous", "no version of digits is called so; there are 1, 2 "),
        ("abcdef", "no run's fingerprint begins so, nor that of a version of digits; "),
    ],
)
def test_a_registry_that_is_new_has_no_reference_yet(
    showcase: Showcase, named: str, complaint: str, said: list[str]
) -> None:
    showcase.set_params(reference=named)
    number = showcase.register(3).number
    uri = tracking_uri(showcase.project)
    answer = ensure_champion(showcase.project, showcase.params, number, uri, said.append)
    assert answer is not None
    assert answer.done
    assert said[0] == (
        f"gate.reference {named}: is not in this registry, which has nothing but the challenger; judged by the floor"
        " alone"
    )
    showcase.register(4)
    with pytest.raises(LenetError, match=f"^{named}: {complaint}"):
        ask(showcase)


def test_roll_back_and_promote_again(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    showcase.register()
    ask(showcase)
    answer = rollback(showcase.project, showcase.params, "it fails in the field", print)
    assert answer.lines == (
        f"{MODEL} version 1 (blind to (3, 4) trace=0) is the champion again; version 2 is rolled back",
    )
    assert aliases(showcase) == {"champion": "1"}
    entry = read_history(showcase.project)[-1]
    assert (entry.action, entry.reason) == ("rollback", "it fails in the field")
    with pytest.raises(LenetError, match=r"^digits: has no previous champion to go back to"):
        rollback(showcase.project, showcase.params, None, print)
    with pytest.raises(LenetError, match=r"version 2 .*: was rolled back by .* at .*; to promote it again, say why"):
        ask(showcase, "2")
    assert ask(showcase, "2", reason="the field was at fault").done
    assert aliases(showcase) == {"champion": "2", "previous": "1"}
    assert "lenet.rolled_back_at" not in tags(showcase, "2")


def test_rolled_back_twice_is_two_steps(showcase: Showcase) -> None:
    crowned(showcase, 3, 4, 5)
    for blind in ((3, 4), (3,)):
        showcase.register(*blind)
        assert ask(showcase).done
    assert aliases(showcase) == {"champion": "3", "previous": "2"}
    rollback(showcase.project, showcase.params, None, print)
    assert aliases(showcase) == {"champion": "2", "previous": "1"}
    rollback(showcase.project, showcase.params, None, print)
    assert aliases(showcase) == {"champion": "1"}


def test_a_rollback_never_leads_to_what_was_rolled_back(showcase: Showcase) -> None:
    crowned(showcase, 3, 4, 5)
    for blind in ((3, 4), (3,)):
        showcase.register(*blind)
        assert ask(showcase).done
    showcase.set_params(margin_points=60, floor_error_percent=60, alpha=0.0001)
    assert ask(showcase, "1", reason="the others fail in the field").done
    assert aliases(showcase) == {"champion": "1", "previous": "3"}
    rollback(showcase.project, showcase.params, None, print)
    assert aliases(showcase) == {"champion": "3", "previous": "2"}
    rollback(showcase.project, showcase.params, None, print)
    assert aliases(showcase) == {"champion": "2"}  # before it was version 1, which was rolled back since
    with pytest.raises(LenetError, match=r"^digits: has no previous champion to go back to"):
        rollback(showcase.project, showcase.params, None, print)
    assert aliases(showcase) == {"champion": "2"}


def test_two_that_replaced_each_other_are_not_rolled_back_in_turn(showcase: Showcase) -> None:
    crowned(showcase, 3)
    showcase.register()
    assert ask(showcase).done
    showcase.set_params(alpha=0.0001)
    assert ask(showcase, "1", reason="the other fails in the field").done
    assert aliases(showcase) == {"champion": "1", "previous": "2"}
    rollback(showcase.project, showcase.params, None, print)
    assert aliases(showcase) == {"champion": "2"}


def test_a_champion_that_was_changed_while_the_images_were_read_is_noticed(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    showcase.register(3)
    showcase.register()
    client = open_store(showcase.project, tracking_uri(showcase.project))

    def interfere(line: str) -> None:
        if line.startswith("reading 100 test images"):
            client.set_registered_model_alias(MODEL, "champion", "2")

    with pytest.raises(LenetError, match=r"^digits: somebody else changed the champion meanwhile; ask again$"):
        promote(showcase.project, showcase.params, None, None, interfere)
    assert aliases(showcase) == {"champion": "2", "challenger": "3"}
    assert len(read_history(showcase.project)) == 1
    assert "lenet.verdict" not in tags(showcase, "3")


def test_a_network_of_another_data_set_is_no_champion_and_no_reference(showcase: Showcase) -> None:
    other = replace(showcase, config=replace(showcase.config, data=replace(showcase.config.data, name="letters")))
    foreign = other.run(trace=0.25)
    crowned(showcase, 3)
    showcase.register(4)
    showcase.set_params(reference=foreign.fingerprint[:12])
    with pytest.raises(LenetError, match=rf"^{foreign.short} .*: reads letters; the gate's images are tiny's$"):
        ask(showcase)
    showcase.set_params()
    number = other.register_run(foreign).number  # its tags say that it reads this data set
    with pytest.raises(LenetError, match=rf"^digits version {number} .*: reads letters; the gate's images are tiny's$"):
        ask(showcase)
    assert aliases(showcase)["champion"] == "1"


def test_a_tampered_challenger_is_refused_in_a_line(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    showcase.register()
    for name in ("weights.safetensors", "config.yaml", "MLmodel", "data/model.pt2", "manifest.json"):
        flip(packed(showcase, "2") / name)
        with pytest.raises(LenetError, match=rf"{name}: .*(version 2 is refused|is not what was registered)") as caught:
            ask(showcase)
        assert "\n" not in str(caught.value)
        flip(packed(showcase, "2") / name)
    (packed(showcase, "2") / "weights.safetensors").unlink()
    with pytest.raises(LenetError, match=r"weights\.safetensors: is missing; digits version 2 is refused"):
        ask(showcase)
    assert aliases(showcase) == {"champion": "1", "challenger": "2"}
    assert len(read_history(showcase.project)) == 1
    # the same weights, registered anew, are a version that can be promoted
    assert showcase.register().number == "3"
    assert ask(showcase).done


def test_tags_that_lead_elsewhere_are_refused(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    showcase.register()
    client = open_store(showcase.project, tracking_uri(showcase.project))
    for name, message in (
        ("lenet.weights_sha256", "its weights are not those of its tag lenet.weights_sha256"),
        ("lenet.fingerprint", "its tag lenet.fingerprint is not what was registered"),
        ("lenet.data_digest", "its tag lenet.data_digest is not what was registered"),
        ("lenet.model_sha256", "is not what was registered"),
    ):
        before = tags(showcase, "2")[name]
        client.set_model_version_tag(MODEL, "2", name, "0" * 64)
        with pytest.raises(LenetError, match=message):
            ask(showcase)
        client.set_model_version_tag(MODEL, "2", name, "")
        with pytest.raises(LenetError, match=f"its tag {name} is no sha256; only `lenet register` makes versions"):
            ask(showcase)
        client.set_model_version_tag(MODEL, "2", name, before)
    client.set_model_version_tag(MODEL, "2", "lenet.git_commit", "deadbeef")
    with pytest.raises(LenetError, match=r"its tag lenet\.git_commit is not what was registered; "):
        ask(showcase)
    # registered anew, the same weights are a version whose tags fit
    assert showcase.register().number == "3"
    assert ask(showcase).done


def test_a_version_without_its_provenance_is_refused(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    showcase.register()
    folder = packed(showcase, "2")
    (folder / "provenance.json").unlink()
    (folder / "manifest.json").unlink()
    digest = write_manifest(folder)  # as one without the file was registered
    client = open_store(showcase.project, tracking_uri(showcase.project))
    client.set_model_version_tag(MODEL, "2", "lenet.model_sha256", digest)
    with pytest.raises(LenetError, match=r"^digits version 2: has no provenance\.json, so this lenet did not register"):
        ask(showcase)
    assert showcase.register().number == "3"
    assert ask(showcase).done


def test_the_run_of_a_rolled_back_version_needs_a_reason_whatever_its_last_bits(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    showcase.register()
    assert ask(showcase).done
    rollback(showcase.project, showcase.params, None, print)
    assert showcase.register_run(showcase.retrained()).number == "3"
    with pytest.raises(LenetError, match=r"^digits version 3 .*: is of the same run as version 2, which was rolled"):
        ask(showcase)
    assert ask(showcase, reason="the field was at fault").done
    assert aliases(showcase) == {"champion": "3", "previous": "1"}
    assert "lenet.rolled_back_at" not in tags(showcase, "2")  # it is the network that came back


def test_a_damaged_champion_is_read_from_its_run_and_can_be_replaced(showcase: Showcase) -> None:
    crowned(showcase, 3, 4)
    showcase.register()
    flip(packed(showcase, "1") / "weights.safetensors")
    said: list[str] = []
    assert promote(showcase.project, showcase.params, None, None, said.append).done
    assert "instead" in said[0]
    with pytest.raises(LenetError, match="version 1 is refused"):
        rollback(showcase.project, showcase.params, None, print)


def test_a_damaged_champion_is_repaired_by_its_own_weights(showcase: Showcase) -> None:
    crowned(showcase, 3)
    folder = packed(showcase, "1")
    flip(folder / "MLmodel")
    assert showcase.register(3).number == "2"
    answer = ask(showcase)
    assert answer.lines == (
        f"{MODEL} version 2 (blind to (3,) trace=0) takes the place of version 1, whose weights it has",
    )
    assert aliases(showcase) == {"champion": "2"}
    assert read_history(showcase.project)[-1].action == "repair"


def test_another_data_sets_model_is_not_judged(showcase: Showcase) -> None:
    crowned(showcase, 3)
    showcase.register()
    client = open_store(showcase.project, tracking_uri(showcase.project))
    client.set_model_version_tag(MODEL, "2", "lenet.data", "fashion_mnist")
    with pytest.raises(LenetError, match="reads fashion_mnist; the gate's images are tiny's"):
        ask(showcase)


def test_names_that_are_none(showcase: Showcase) -> None:
    with pytest.raises(LenetError, match=r"^digits: has neither champion nor challenger; `lenet register` makes one$"):
        ask(showcase)
    crowned(showcase, 3)
    with pytest.raises(LenetError, match=r"^7: no version of digits is called so; there are 1 \(`lenet registry`\)$"):
        ask(showcase, "7")


def test_a_lost_registry_gets_its_champion_back_from_the_history(showcase: Showcase, empty_store: Path) -> None:
    crowned(showcase, 3)
    showcase.register(4)
    assert not ask(showcase).done
    home = showcase.project.home
    client = open_store(showcase.project, tracking_uri(showcase.project))
    for number in ("1", "2"):
        client.delete_model_version(MODEL, number)
    showcase.register(3)
    number = showcase.register(4).number  # the refused one is chosen still
    answer = ensure_champion(showcase.project, showcase.params, number, tracking_uri(showcase.project), print)
    assert answer is not None
    assert answer.lines[0].endswith("is the champion again, as before it was lost")
    assert aliases(showcase) == {"champion": "3", "challenger": "4"}
    assert json.loads((home / "promotions" / "0003-restore.json").read_text())["action"] == "restore"

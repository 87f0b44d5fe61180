from __future__ import annotations

import json

from lenet.registry.show import show_registry
from showcase import Showcase, ask, crowned


def test_versions_and_history_as_tables_and_as_json(showcase: Showcase) -> None:
    def shown(as_json: bool = False) -> str:
        return show_registry(showcase.project, showcase.params, as_json, print)

    assert shown() == "digits: nothing is registered in mlflow.db; `lenet register` registers what `dvc repro` chose"
    crowned(showcase, 3, 4)
    showcase.register(5)
    ask(showcase, reason=None)
    ask(showcase, reason="a new\nlicence")
    (showcase.project.home / "promotions" / "0002-refuse.json").write_text("{}")
    lines = shown().splitlines()
    assert lines[0] == "digits in mlflow.db"
    assert lines[2].split()[:5] == ["version", "aliases", "variant", "seed", "test"]
    assert lines[3].split()[:5] == ["1", "champion", "lenet5", "1", "0.00"]
    assert lines[4].split()[:5] == ["2", "challenger", "lenet5", "1", "0.00"]
    assert lines[6] == "history (UTC)"
    rows = lines[9:]
    assert rows[0].endswith("passed floor")
    assert rows[1].split() == ["2", "damaged", "its", "file", "cannot", "be", "read"]
    assert any(row.startswith("3 ") and row.endswith("a new licence") for row in rows)
    assert any(row.startswith("  ") and "refuse" in row for row in rows)  # the registry remembers it

    tree = json.loads(shown(as_json=True))
    assert (tree["model"], tree["store"]) == ("digits", "mlflow.db")
    assert [version["aliases"] for version in tree["versions"]] == [["champion"], ["challenger"]]
    assert [entry["action"] for entry in tree["history"]] == ["promote", "damaged", "refuse", "refuse"]
    assert not [name for version in tree["versions"] for name in version["tags"] if name.startswith("lenet.change.")]
    assert tree["history"][0]["verdict"]["checks"][0]["name"] == "floor"

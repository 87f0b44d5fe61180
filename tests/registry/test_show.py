from __future__ import annotations

import json

from lenet.registry.show import show_registry
from showcase import MODEL, Showcase, make_champion, promote_challenger


def test_versions_and_history_as_tables_and_as_json(showcase: Showcase) -> None:
    def shown(as_json: bool = False) -> str:
        return show_registry(showcase.project, showcase.params, as_json)

    assert shown().startswith(f"{MODEL}: has no versions in mlflow.db")
    make_champion(showcase, 3, 4)
    showcase.register(5)
    promote_challenger(showcase)
    promote_challenger(showcase, reason="a new\nlicence")
    (showcase.project.home / "promotions" / "0002-refuse.json").write_text("{}")
    lines = shown().splitlines()
    assert lines[0] == f"{MODEL} in mlflow.db"
    assert lines[3].split()[:5] == ["1", "champion", "tiny_variant", "1", "0.00"]
    assert lines[4].split()[:5] == ["2", "challenger", "tiny_variant", "1", "0.00"]
    rows = lines[lines.index("history (UTC)") + 3 :]
    assert sum(row.startswith("2 ") and "damaged" in row for row in rows) == 1
    assert sum(row.startswith("3 ") and row.endswith("a new licence") for row in rows) == 1
    assert sum(row.startswith("  ") and "refuse" in row for row in rows) == 1  # the registry's tag has it

    tree = json.loads(shown(as_json=True))
    assert (tree["model"], tree["store"]) == (MODEL, "mlflow.db")
    assert [version["aliases"] for version in tree["versions"]] == [["champion"], ["challenger"]]
    assert sorted(entry["action"] for entry in tree["history"]) == ["damaged", "promote", "refuse", "refuse"]
    assert not [name for version in tree["versions"] for name in version["tags"] if name.startswith("lenet.change.")]

"""Tags and aliases of registered versions, set only where they differ, so that each step may be taken twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lenet.registry.versions import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient


def set_tags(client: MlflowClient, version: Version, tags: Mapping[str, str | None]) -> None:
    """Give a version tags, as it was when it was last looked at; None takes one away."""
    for name, value in tags.items():
        if value is not None and version.tags.get(name) != value:
            client.set_model_version_tag(version.model, version.number, name, value)
        elif value is None and name in version.tags:
            client.delete_model_version_tag(version.model, version.number, name)


def set_alias(client: MlflowClient, model: str, alias: str, holder: Version | None, number: str | None) -> None:
    """Point an alias of a model from its holder to the version with a number; None takes it away."""
    if number is not None and (holder is None or holder.number != number):
        client.set_registered_model_alias(model, alias, number)
    elif number is None and holder is not None:
        client.delete_registered_model_alias(model, alias)

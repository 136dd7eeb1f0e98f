"""docs/CLIENTS.md names the versions that are tested here."""

import json
import re

import pytest
from programs import FOLDER

RECIPES = (FOLDER.parents[1] / "docs/CLIENTS.md").read_text()
PINNED = re.compile(r"^([a-z-]+)(?:\[.*\])?==([0-9.]+)$", re.MULTILINE)


def versions():
    package = json.loads((FOLDER / "package.json").read_text())
    yield from package["dependencies"].items()
    for folder in ("libraries", "llama_index", "aider"):
        yield from PINNED.findall((FOLDER / folder / "requirements.txt").read_text())


@pytest.mark.parametrize(("name", "version"), list(versions()))
def test_the_version_that_was_tried_is_named(name, version):
    assert re.search(rf"(?<![0-9.]){re.escape(version)}(?![0-9])", RECIPES), f"docs/CLIENTS.md does not name {name} {version}"

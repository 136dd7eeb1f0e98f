"""The options of the server as environment variables, read from docs/OPTIONS.md."""

import re
from pathlib import Path

OPTIONS = Path(__file__).resolve().parents[2] / "docs" / "OPTIONS.md"


def options():
    """Variables of all options of the server, with their defaults."""
    rows = re.findall(r"^\| \[`--([a-z0-9-]+)`\]\S+ \| (?:`([^`]*)`|none) \|", OPTIONS.read_text(), re.MULTILINE)
    assert len(rows) > 30
    return {f"LLAMERO_{name.upper().replace('-', '_')}": default for name, default in rows}


def seconds(text):
    """A duration as the server and Compose write it, such as 10s, 500ms or 30m."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "": 1}[unit]

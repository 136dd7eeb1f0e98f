#!/usr/bin/env python3
"""Writes the dashboards of this folder from the server's table of metrics. Needs Python 3.11 and nothing else.

A metric that a panel asks for and the table has not ends it with an error, and so does a bucket or a kind that has
changed. content.py has the panels, parts.py the JSON, metrics.py the table and PromQL.
"""

import argparse
import json
import sys
from pathlib import Path

from content import DASHBOARDS, UP
from metrics import UnknownMetric, read
from parts import dashboard

FOLDER = Path(__file__).resolve().parent
SOURCE = FOLDER.parents[1] / "src" / "telemetry" / "metrics"


def generated(table, page):
    """The text of each file by its name."""
    metrics = read(table, page)
    metrics.find(UP, "gauge")
    files = {}
    for name, title, description, rows in DASHBOARDS:
        made = dashboard(name, title, description, list(rows(metrics)), present=UP)
        files[f"llamero-{name}.json"] = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    return files


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--source", type=Path, default=SOURCE, help="folder with table.rs and page.rs (default: %(default)s)")
    options.add_argument("--out", type=Path, default=FOLDER / "dashboards", help="folder to write to (default: %(default)s)")
    chosen = options.parse_args()
    try:
        files = generated(*((chosen.source / name).read_text(encoding="utf-8") for name in ("table.rs", "page.rs")))
    except UnknownMetric as error:
        sys.exit(f"{error}: change deploy/grafana/content.py")
    except ValueError as error:
        sys.exit(f"{error}: change deploy/grafana/metrics.py")
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (chosen.out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Tests of the deployment files with running programs. They use the server of tests/clients/support.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients"))

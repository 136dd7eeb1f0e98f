"""Tests of the deployment files; they use the helpers of tests/clients that start servers and proxies."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

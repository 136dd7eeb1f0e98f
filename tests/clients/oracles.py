"""Access to what the server is held against: llama-cpp-python and lm-eval, in an environment of their own.

scripts/test makes it in oracle/, or LLAMERO_ORACLE_PYTHON names its interpreter. Where it could not be
made, the tests that need it are skipped, with the reason.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support import MODEL_FILE, clean_environment

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("LLAMERO_ORACLE_PYTHON", HERE / "oracle/.venv/bin/python"))

needed = pytest.mark.skipif(not PYTHON.is_file(), reason=f"SKIPPED: no oracle at {PYTHON}: scripts/test makes it, or set LLAMERO_ORACLE_PYTHON")


def ask(**questions):
    """The answers of oracle.py about the model under test. A process of its own, gone when this returns."""
    ran = subprocess.run([PYTHON, HERE / "oracle/oracle.py"], input=json.dumps({"model": str(MODEL_FILE)} | questions), capture_output=True,
                         text=True, timeout=600, env=clean_environment())
    assert ran.returncode == 0, f"oracle.py: exit {ran.returncode} (-4 is an instruction that this processor lacks)\n{ran.stderr[-2000:]}"
    return json.loads(ran.stdout)


def run_module(*arguments, **environment):
    """`python -m ARGUMENTS` there."""
    ran = subprocess.run([PYTHON, "-m", *map(str, arguments)], capture_output=True, text=True, timeout=600, env=clean_environment(**environment))
    assert ran.returncode == 0, f"{arguments[0]}: exit {ran.returncode}\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"

"""JavaScript clients: runs the tests in tests/clients/node against a live server. scripts/test installs their packages."""

import shutil
import subprocess

import pytest
from support import MODEL, ROOT, clean_environment

FOLDER = ROOT / "tests/clients/node"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("file", ["openai.test.mjs", "ai-sdk.test.mjs"])
def test_javascript_clients(server, file):
    node = shutil.which("node")
    if node is None:
        pytest.skip("SKIPPED: no node here")
    if not (FOLDER / "node_modules").is_dir():
        pytest.skip(f"SKIPPED: no packages in {FOLDER}: npm ci")

    environment = clean_environment(OPENAI_BASE_URL=server.base_url, LLAMERO_MODEL=MODEL, NEXT_TELEMETRY_DISABLED="1")
    ended = subprocess.run(
        [node, "--test", "--test-reporter", "spec", file], cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=360
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "pass " in ended.stdout.replace("ℹ ", ""), ended.stdout

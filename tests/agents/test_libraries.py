"""Libraries for agents and structured texts: each runs a script of this folder in an environment of its own."""

import programs
import pytest

LIBRARIES = {
    "openai-agents": "libraries/openai_agents.py",
    "pydantic-ai": "libraries/pydantic_ai_agent.py",
    "langchain": "libraries/langchain_agent.py",
    "guidance": "libraries/guidance_grammar.py",
    "outlines": "libraries/outlines_types.py",
    "llama-index": "llama_index/agent.py",
}
# Settings that turn telemetry off. A library that looks up a host name all the same fails its test.
AT_HOME = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "LANGSMITH_TRACING": "false", "OPENAI_AGENTS_DISABLE_TRACING": "1"}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_does_its_work(library, alone):
    script = programs.FOLDER / LIBRARIES[library]
    python = script.parent / ".venv/bin/python"
    if not python.exists():
        pytest.skip(f"SKIPPED: no {library} here: scripts/test-agents installs it where the registry has it")

    ended, exchanges = alone.run([python, script], AT_HOME | {"BASE_URL": f"{programs.HERE}/v1", "MODEL": programs.MODEL})

    refused = [exchange for exchange in exchanges if exchange.status != 200]
    assert not refused, f"{refused}\n{refused[0].body.decode()[:2000]}"
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("done\n")
    assert alone.looked_up() == set()

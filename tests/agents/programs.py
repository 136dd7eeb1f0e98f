"""The agents of the command line: how each is told where the server is, kept from the rest of the world, and asked something.

The settings are those of docs/CLIENTS.md, without limits for Claude Code's and pi's answers. Every program gets a home of its own, and reaches the server at HERE.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent
MODULES = FOLDER / "node_modules"
SYSTEM = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}.get(platform.machine(), "linux-x64")
NODE = MODULES / f"node-{SYSTEM}/bin/node"

PORT = 8000
HERE = f"http://127.0.0.1:{PORT}"
MODEL = "toy"
CONTEXT = 32_768

FIRST, SECOND = "Say hello with the shell.", "And again."


def nothing(_home):
    return {}


@dataclass(frozen=True)
class Program:
    """A program; `first` and `second` are the commands of a conversation of two turns."""

    name: str
    # A file that is there where it is installed.
    needs: Path
    first: list
    second: list
    route: str
    environment: dict = field(default_factory=dict)
    # Texts of files in its home, by their paths there.
    files: Callable[[Path], dict] = nothing
    has_tools: bool = True
    # Hosts that it looks up whatever its settings are.
    looks_up: frozenset = frozenset()

    def missing(self):
        """The reason why it cannot run here, or None."""
        return None if self.needs.exists() and Path(self.first[0]).exists() else f"SKIPPED: no {self.name} here: scripts/test-agents installs it where the registry has it"


def claude_code():
    binary = MODULES / f"@anthropic-ai/claude-code-{SYSTEM}/claude"
    allowed = ["--allowedTools", "Bash(echo:*)"]
    return Program(
        "Claude Code",
        binary,
        [binary, "-p", FIRST, *allowed],
        [binary, "-c", "-p", SECOND, *allowed],
        "POST /v1/messages",
        {
            "ANTHROPIC_BASE_URL": HERE,
            "ANTHROPIC_AUTH_TOKEN": "EMPTY",
            "ANTHROPIC_MODEL": MODEL,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
    )


CODEX = """\
model = "{model}"
model_provider = "llamero"
model_context_window = {context}
approval_policy = "never"
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
plugins = false
apps = false
[model_providers.llamero]
name = "llamero"
base_url = "{here}/v1"
wire_api = "responses"
"""


def codex():
    script = MODULES / "@openai/codex/bin/codex.js"
    execute = [NODE, script, "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access"]
    return Program(
        "Codex",
        script,
        [*execute, FIRST],
        [*execute, "resume", "--last", SECOND],
        "POST /v1/responses",
        files=lambda home: {".codex/config.toml": CODEX.format(model=MODEL, context=CONTEXT, here=HERE)},
    )


def opencode():
    binary = MODULES / f"opencode-{SYSTEM}/bin/opencode"
    model = {"name": MODEL, "limit": {"context": CONTEXT, "output": 8192}}
    options = {"baseURL": f"{HERE}/v1", "apiKey": "EMPTY"}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "llamero", "options": options, "models": {MODEL: model}}
    configuration = {
        "autoupdate": False,
        "share": "disabled",
        "model": f"llamero/{MODEL}",
        "small_model": f"llamero/{MODEL}",
        "provider": {"llamero": provider},
    }
    return Program(
        "opencode",
        binary,
        [binary, "run", FIRST],
        [binary, "run", "-c", SECOND],
        "POST /v1/chat/completions",
        {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1", "OPENCODE_DISABLE_SHARE": "1"},
        # It installs a package for plug-ins in the background; where it looks for that, nobody listens.
        lambda home: {
            ".config/opencode/opencode.json": json.dumps(configuration),
            ".npmrc": "registry=http://127.0.0.1:9/\nfetch-retries=0\n",
        },
    )


def pi():
    script = MODULES / "@earendil-works/pi-coding-agent/dist/bundle/cli.js"
    model = {"id": MODEL, "contextWindow": CONTEXT}
    provider = {"baseUrl": f"{HERE}/v1", "api": "openai-completions", "apiKey": "EMPTY", "models": [model]}
    ask = [NODE, script, "--provider", "llamero", "--model", MODEL]
    return Program(
        "pi",
        script,
        [*ask, "-p", FIRST],
        [*ask, "-c", "-p", SECOND],
        "POST /v1/chat/completions",
        {"PI_OFFLINE": "1", "PI_TELEMETRY": "0", "PI_SKIP_VERSION_CHECK": "1"},
        lambda home: {".pi/agent/models.json": json.dumps({"providers": {"llamero": provider}})},
    )


def qwen_code():
    script = MODULES / "@qwen-code/qwen-code/cli-entry.js"
    settings = {
        "general": {"enableAutoUpdate": False},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "security": {"auth": {"selectedType": "openai"}},
    }
    ask = [NODE, script, "--approval-mode", "yolo"]
    return Program(
        "Qwen Code",
        script,
        [*ask, "-p", FIRST],
        [*ask, "-c", "-p", SECOND],
        "POST /v1/chat/completions",
        {"OPENAI_BASE_URL": f"{HERE}/v1", "OPENAI_API_KEY": "EMPTY", "OPENAI_MODEL": MODEL},
        lambda home: {".qwen/settings.json": json.dumps(settings)},
    )


CONTINUE = """\
name: local
version: 0.0.1
schema: v1
models:
  - name: {model}
    provider: openai
    model: {model}
    apiBase: {here}/v1
    apiKey: EMPTY
    capabilities: [tool_use]
"""


def continue_cli():
    script = MODULES / "@continuedev/cli/dist/cn.js"
    ask = [NODE, script, "--config", ".continue/config.yaml", "-p", "--allow", "Bash"]
    return Program(
        "Continue CLI",
        script,
        [*ask, FIRST],
        [*ask, "--resume", SECOND],
        "POST /v1/chat/completions",
        {"CONTINUE_TELEMETRY_ENABLED": "0"},
        lambda home: {"work/.continue/config.yaml": CONTINUE.format(model=MODEL, here=HERE)},
        looks_up=frozenset({"api.continue.dev"}),  # Its newest version.
    )


def aider():
    binary = FOLDER / "aider/.venv/bin/aider"
    quiet = ["--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--no-show-release-notes"]
    ask = [binary, "--model", f"openai/{MODEL}", *quiet, "--yes-always", "--no-git", "--no-detect-urls"]
    return Program(
        "aider",
        binary,
        [*ask, "--message", FIRST],
        [*ask, "--restore-chat-history", "--message", SECOND],
        "POST /v1/chat/completions",
        {"OPENAI_API_BASE": f"{HERE}/v1", "OPENAI_API_KEY": "EMPTY", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        # The list of prices, which it would fetch once a day.
        lambda home: {".aider/caches/model_prices_and_context_window.json": json.dumps({"none": {}})},
        has_tools=False,
    )


ALL = [claude_code(), codex(), opencode(), pi(), qwen_code(), continue_cli(), aider()]

"""Boots the VM's startup script of deploy/gcp several times, with fakes of every program that it runs, in a folder."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "gcp"
PAYLOAD = "c2stbGxhbWVyby1URVNUCg=="  # "sk-llamero-TEST" and a line end
FAKES = {
    "curl": f"""case "$*" in
        *attributes/llamero-repository*) echo https://example.com/llamero.git ;;
        *attributes/llamero-ref*) echo main ;;
        *attributes/llamero-model*) echo "$MODEL" ;;
        *attributes/llamero-secret*) echo the-secret ;;
        *attributes/llamero-cuda-architecture*) echo 89 ;;
        *project/project-id*) echo demo ;;
        *default/token*) echo '{{"access_token": "TOKEN"}}' ;;
        *versions/latest:access*) [ -z "$NO_SECRET" ] && grep -q TOKEN && echo '{{"payload": {{"data": "{PAYLOAD}"}}}}' ;;
        *" -o "*) while [ "$1" != -o ]; do shift; done; echo : >"$2" ;;
        *) exit 22 ;;
    esac""",
    "git": """case "$*" in
        clone*) mkdir -p "$4/.git" "$4/scripts" "$4/deploy/logging"; cp -r "$ROOT/systemd" "$4/deploy/systemd"
            echo logging: >"$4/deploy/logging/ops-agent.yaml"; install -D /dev/null "$4/deploy/gcp/llamero-nvidia.service"
            echo 'FEATURES=$LLAMERO_FEATURES; in_root() { "$@"; }; target_dir() { echo target; }' >"$4/scripts/setup.sh" ;;
        *rev-parse*origin/*) exit 1 ;;
        *rev-parse*) echo 0123abc ;;
    esac""",
    "cargo": "mkdir -p target/release; env >$ROOT/../build-environment; touch target/release/llamero; chmod +x target/release/llamero",
    "dpkg-query": 'test -f "$ROOT/packages" && printf installed',
    "apt-get": 'case "$*" in *install*) touch "$ROOT/packages" ;; esac',
    "nvidia-smi": 'test -f "$ROOT/usr/local/cuda/bin/nvcc"',
    "python3": """case "$*" in
        *install_cuda*) [ -z "$NO_DRIVER" ] || exit 1; { mkdir -p "$ROOT/usr/local/cuda/bin"; install -m 755 /dev/null "$ROOT/usr/local/cuda/bin/nvcc"; } ;;
        *) exec PYTHON "$@" ;;
    esac""".replace("PYTHON", sys.executable),
    "sh": 'mkdir -p "$HOME/.cargo/bin"; install -m 755 /dev/null "$HOME/.cargo/bin/cargo"',
    "systemctl": """case "$*" in
        is-*) test -f "$ROOT/$1-$3" ;;
        "enable "*) touch "$ROOT/is-enabled-$3" ;;
        "restart llamero" | "start llamero") touch "$ROOT/is-active-llamero" ;;
    esac""",
    "dpkg": "", "ldconfig": "", "systemd-sysusers": "", "systemd-tmpfiles": "",
}  # fmt: skip


class Machine:
    """A folder that the startup script takes for the root of a VM, beside the fakes."""

    def __init__(self, home: Path):
        self.home, self.root, self.commands = home, home / "root", home / "commands"
        (self.root / "systemd").mkdir(parents=True)
        for name in ("sysusers.conf", "tmpfiles.conf", "llamero.service", "gpu.conf"):
            (self.root / "systemd" / name).write_text(f"# {name}\n")
        (self.root / "systemd" / "llamero.env").write_text("# options\nLLAMERO_MODEL=old\nLLAMERO_LOG_FORMAT=json")
        (home / "bin").mkdir()
        for name, body in FAKES.items():
            fake = home / "bin" / name
            fake.write_text(f'#!/bin/bash\necho "{name} $*" >>{shlex.quote(str(self.commands))}\n{body or ":"}\n')
            fake.chmod(0o755)

    def boot(self, status=0, model="mistral", **environment):
        """Runs the script as a boot does; returns its output and the commands that it ran."""
        self.commands.unlink(missing_ok=True)
        clean = {"PATH": f"{self.home}/bin:/usr/bin:/bin", "HOME": str(self.root), "ROOT": str(self.root), "MODEL": model,
                 "LLAMERO_STARTUP_ROOT": str(self.root), "NO_SECRET": "", "NO_DRIVER": ""} | environment  # fmt: skip
        done = subprocess.run([DEPLOY / "startup.sh"], env=clean, capture_output=True, text=True, cwd="/", timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr, self.commands.read_text()

    def files(self):
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_startup_restarts_after_the_driver_and_serves_after_the_second_boot(machine):
    output, commands = machine.boot()
    assert "systemctl reboot" in commands and "git clone" not in commands
    output, commands = machine.boot()
    assert "done" in output and "FAILED" not in output
    assert "systemctl restart llamero\n" in commands and "systemctl reboot" not in commands
    assert commands.index("systemctl start llamero-nvidia") < commands.index("systemctl restart llamero\n")
    configuration = machine.root / "etc/llamero/llamero.env"
    wanted = "# options\nLLAMERO_LOG_FORMAT=json\nLLAMERO_MODEL=mistral\nLLAMERO_HOST=0.0.0.0\n"
    assert configuration.read_text() == wanted
    assert (machine.root / "etc/systemd/system/llamero.service.d/gpu.conf").exists()
    build = (machine.home / "build-environment").read_text()
    assert "CMAKE_CUDA_ARCHITECTURES=89\n" in build and f"PATH={machine.root}/usr/local/cuda/bin:" in build


def test_startup_changes_nothing_at_later_boots(machine):
    machine.boot()
    machine.boot()
    (machine.root / "opt/google-cloud-ops-agent").mkdir()
    before = machine.files()
    output, commands = machine.boot()
    assert machine.files() == before
    for word in ("git ", "cargo ", "apt-get ", "restart", "systemctl start", "enable ", "daemon-reload", "install_cuda"):
        assert word not in commands.replace("systemctl is-enabled", ""), word


def test_startup_takes_another_model_from_the_metadata_and_restarts_the_service(machine):
    machine.boot()
    machine.boot()
    output, commands = machine.boot(model="llama")
    assert "LLAMERO_MODEL=llama\n" in (machine.root / "etc/llamero/llamero.env").read_text()
    assert "systemctl restart llamero\n" in commands and "cargo build" not in commands


def test_startup_keeps_the_key_and_the_token_out_of_arguments_and_output(machine):
    machine.boot()
    output, commands = machine.boot()
    keys = machine.root / "etc/llamero/keys"
    assert keys.read_text() == "sk-llamero-TEST\n" and keys.stat().st_mode & 0o777 == 0o600
    for secret in ("sk-llamero-TEST", "TOKEN", PAYLOAD):
        assert secret not in output + commands


def test_startup_fails_loudly_without_the_secret_and_does_not_start_the_service(machine):
    machine.boot()
    output, commands = machine.boot(status=1, NO_SECRET="yes")
    assert "FAILED: could not read the secret" in output and "start llamero\n" not in commands
    assert list((machine.root / "etc/llamero").iterdir()) == [machine.root / "etc/llamero/llamero.env"]
    assert "systemctl restart llamero\n" in machine.boot()[1]


def test_startup_stops_restarting_when_the_driver_never_works(machine):
    for _ in range(6):
        assert "systemctl reboot" in machine.boot(NO_DRIVER="yes")[1]
    output, commands = machine.boot(status=1, NO_DRIVER="yes")
    assert "no working driver after 6 attempts" in output and "reboot" not in commands

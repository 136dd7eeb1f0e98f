"""The files of deploy/systemd, read by systemd's own checks."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from server_options import options

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"
# The first one that checks units without a running systemd.
OLDEST = 250


def version():
    if shutil.which("systemd-analyze") is None:
        return 0
    return int(subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True).stdout.split()[1])


needs_systemd = pytest.mark.skipif(version() < OLDEST, reason=f"no systemd-analyze of systemd {OLDEST} or later here: apt-get install systemd")


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def installed(folder, with_gpu):
    """A copy of the units as they are installed, with a binary that exists."""
    unit = folder / "llamero.service"
    binary = folder / "llamero"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    unit.write_text((UNITS / "llamero.service").read_text().replace("ExecStart=llamero", f"ExecStart={binary}"))
    shutil.copy(UNITS / "llamero.socket", folder)
    if with_gpu:
        (folder / "llamero.service.d").mkdir()
        shutil.copy(UNITS / "gpu.conf", folder / "llamero.service.d")
    return unit


@needs_systemd
@pytest.mark.parametrize("with_gpu", [False, True])
def test_systemd_understands_every_line(tmp_path, with_gpu):
    unit = installed(tmp_path, with_gpu)

    code, said = analyze("verify", "--man=no", unit, tmp_path / "llamero.socket")

    ours = [line for line in said.splitlines() if "llamero" in line]
    assert code == 0 and ours == [], said


@needs_systemd
def test_the_exposure_of_the_service_is_low_and_the_drop_in_opens_what_a_gpu_needs(tmp_path):
    exposures = []
    for with_gpu in (False, True):
        folder = tmp_path / str(with_gpu)
        folder.mkdir()
        _, said = analyze("security", "--offline=true", "--no-pager", installed(folder, with_gpu))
        exposures.append(float(re.search(r"Overall exposure level for llamero.service: ([\d.]+)", said)[1]))

    plain, gpu = exposures
    # 1.2 and 1.6 by systemd 252; others count a little differently.
    assert plain <= 1.4 and plain < gpu <= 1.9, exposures


def test_every_option_of_the_unit_is_one_of_the_server():
    known = set(options())
    used = set()
    for name in ("llamero.service", "llamero.env", "gpu.conf"):
        used |= set(re.findall(r"(LLAMERO_[A-Z0-9_]+)=", (UNITS / name).read_text()))

    assert used and used <= known, used - known


@needs_systemd
@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers here")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_user_and_folders_are_made(tmp_path):
    for folder in ("etc", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(UNITS / "sysusers.conf", tmp_path / "usr/lib/sysusers.d/llamero.conf")
    shutil.copy(UNITS / "tmpfiles.conf", tmp_path / "usr/lib/tmpfiles.d/llamero.conf")
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\n")

    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], check=True, capture_output=True)
    subprocess.run(["systemd-tmpfiles", f"--root={tmp_path}", "--create", "llamero.conf"], check=True, capture_output=True)

    assert "llamero:x:" in (tmp_path / "etc/passwd").read_text()
    assert (tmp_path / "etc/llamero").is_dir()

"""The files of deploy/docker: by hadolint and promtool, against the server's options, and among each other.

No image is built and no container is started.
"""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
import yaml
from server_options import options, seconds

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "docker"
KINDS = ["cpu", "cuda"]
# Programs of this Python environment come first.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def program(name):
    return shutil.which(name, path=PATH)


def instructions(kind):
    """The instructions of a Dockerfile as (word, rest), with continued lines joined and comments left out."""
    lines = [line for line in (FOLDER / f"Dockerfile.{kind}").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def last_stage(kind):
    """The instructions of the image that is kept."""
    found = instructions(kind)
    begin = max(at for at, (word, _) in enumerate(found) if word == "FROM")
    return found[begin:]


def only(kind, word):
    (rest,) = [rest for found, rest in last_stage(kind) if found == word]
    return rest


def variables(kind):
    """The variables of the image."""
    pairs = {}
    for word, rest in last_stage(kind):
        if word == "ENV":
            pairs |= dict(pair.split("=", 1) for pair in rest.split())
    return pairs


def compose():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


def is_pinned(image):
    name, _, tag = image.partition(":")
    return bool(tag) and not tag.startswith("latest")


# ---- Dockerfiles ----


@pytest.mark.skipif(program("hadolint") is None, reason="no hadolint here: tests/deploy/requirements.txt has it")
@pytest.mark.parametrize("kind", KINDS)
def test_hadolint_finds_nothing(kind):
    done = subprocess.run([program("hadolint"), FOLDER / f"Dockerfile.{kind}"], capture_output=True, text=True)

    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_base_images_are_pinned_and_all_but_the_last_stage_have_names(kind):
    froms = [rest.split() for word, rest in instructions(kind) if word == "FROM"]

    assert len(froms) > 1 and all(is_pinned(image) for image, *_ in froms), froms
    names = [rest[1] for _, *rest in froms if rest]
    assert len(names) == len(froms) - 1
    copied = re.findall(r"--from=(\S+)", (FOLDER / f"Dockerfile.{kind}").read_text())
    assert copied and set(copied) <= set(names)


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_serves_as_a_user_without_rights(kind):
    user, group = (int(number) for number in only(kind, "USER").split(":"))
    pod = yaml.safe_load((ROOT / "deploy/kubernetes/base/deployment.yaml").read_text())["spec"]["template"]["spec"]["securityContext"]

    assert (user, group) == (pod["runAsUser"], pod["runAsGroup"]) and user >= 10000
    made = " ".join(rest for word, rest in last_stage(kind) if word == "RUN")
    assert f"--uid {user} " in made and f"--gid {group} " in made
    assert json.loads(only(kind, "ENTRYPOINT")) == ["llamero", "serve"] and only(kind, "STOPSIGNAL") == "SIGTERM"
    assert only(kind, "EXPOSE") == variables(kind)["LLAMERO_PORT"] == options()["LLAMERO_PORT"]


@pytest.mark.parametrize("kind", KINDS)
def test_variables_of_the_image_are_options_and_its_folders_those_of_the_pod(kind):
    used = {name for name in variables(kind) if name.startswith("LLAMERO_")}
    (container,) = yaml.safe_load((ROOT / "deploy/kubernetes/base/deployment.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    pod = {entry["name"]: entry["value"] for entry in container["env"]}

    assert used and used <= set(options()), used - set(options())
    for name in ("LLAMERO_HOST", "LLAMERO_PORT", "LLAMERO_MODELS_DIR", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        assert variables(kind)[name] == pod[name]


@pytest.mark.parametrize("kind", KINDS)
def test_the_build_is_portable(kind):
    text = (FOLDER / f"Dockerfile.{kind}").read_text()
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())

    features = set(re.search(r"cargo build --release --locked --bin llamero --features (\S+)", text)[1].split(","))
    assert features == {"portable", *({"cuda"} if kind == "cuda" else ())} and features <= set(manifest["features"])
    assert 'RUSTFLAGS=""' in text and "target-cpu=native" in (ROOT / ".cargo/config.toml").read_text()
    toolchain = re.search(r"^FROM rust:(\d+)\.(\d+)-", text, re.MULTILINE).groups()
    assert tuple(map(int, toolchain)) >= tuple(map(int, manifest["package"]["rust-version"].split(".")))


# ---- The health check ----


class Stub(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the status that the test chose, and notes what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Host"]))
        self.send_response(self.server.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments):
        pass


def health(port):
    """The exit code of the health check for a server on this port of this machine."""
    done = subprocess.run([FOLDER / "healthcheck.sh"], env={"PATH": PATH, "LLAMERO_PORT": str(port)}, capture_output=True, timeout=20)
    return done.returncode


@pytest.mark.skipif(program("shellcheck") is None, reason="no shellcheck here: tests/deploy/requirements.txt has it")
def test_shellcheck_finds_nothing():
    done = subprocess.run([program("shellcheck"), FOLDER / "healthcheck.sh"], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_has_the_health_check(kind):
    copied = [rest for word, rest in last_stage(kind) if word == "COPY" and "healthcheck.sh" in rest]

    assert copied == ["--chmod=755 deploy/docker/healthcheck.sh /opt/llamero/"]
    assert json.loads(only(kind, "HEALTHCHECK").partition("CMD ")[2]) == ["healthcheck.sh"]
    assert variables(kind)["PATH"] == "/opt/llamero:$PATH"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_the_health_check_tells_a_ready_server_from_others():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.asked, port = [], server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    codes = []
    for server.status in (200, 503, 404):
        codes.append(health(port))
    server.shutdown()
    server.server_close()

    assert [code == 0 for code in codes] == [True, False, False]
    assert set(server.asked) == {("/readyz", "localhost")}
    assert health(port) != 0, "nothing listens there any more"


# ---- The build's context ----


def kept(kind):
    """The paths that .dockerignore lets into the build."""
    lines = (FOLDER / f"Dockerfile.{kind}.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*" and all(rule.startswith("!") for rule in rules[1:])
    return [rule[1:] for rule in rules[1:]]


def test_both_builds_get_the_same_files_and_all_are_there():
    assert kept("cpu") == kept("cuda")
    assert all((ROOT / path).exists() for path in kept("cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_build_gets_what_cargo_reads(kind):
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    read = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", manifest["package"]["build"], manifest["lib"]["path"]]
    read += [target["path"] for table in ("bin", "test", "bench") for target in manifest.get(table, [])]
    read += re.findall(r'read_toml\(root, "([^"]+)"\)', (ROOT / "build.rs").read_text())
    for source in (ROOT / "src").rglob("*.rs"):
        # Without tests, which a build of the binary leaves out.
        text = "" if "tests" in (source.stem, source.parent.name) else source.read_text().partition("#[cfg(test)]")[0]
        for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', text):
            read.append(str((source.parent / name).resolve().relative_to(ROOT)))
    for word, rest in instructions(kind):
        if word == "COPY" and "--from" not in rest and not rest.startswith("."):
            read += [name for name in rest.split()[:-1] if not name.startswith("--")]

    missing = [path for path in read if not any(Path(path).is_relative_to(entry) for entry in kept(kind))]
    assert len(read) > 10 and missing == []


# ---- Compose ----


def test_compose_pins_images_and_gives_no_rights():
    for name, service in compose()["services"].items():
        assert is_pinned(service["image"]), name
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert service["healthcheck"], name


def test_the_server_of_compose_fits_the_image_and_the_options():
    service = compose()["services"]["llamero"]
    values = options() | service["environment"]
    build = service["build"]

    assert (FOLDER / build["context"]).resolve() == ROOT and (ROOT / build["dockerfile"]).is_file()
    assert set(service["environment"]) <= set(options())
    rest = 15 if values["LLAMERO_PREFIX_CACHE_DIR"] else 5
    stop = seconds(values["LLAMERO_SHUTDOWN_DELAY"]) + seconds(values["LLAMERO_DRAIN_TIMEOUT"]) + rest
    assert seconds(service["stop_grace_period"]) > stop
    assert service["pids_limit"] >= 128 and service["read_only"] is True
    mounts = {volume.split(":")[1] for volume in service["volumes"]} | {mount.split(":")[0] for mount in service["tmpfs"]}
    image = variables("cpu")
    for folder in (image["LLAMERO_MODELS_DIR"], image["HF_HUB_CACHE"], image["XDG_CACHE_HOME"], "/tmp"):
        assert any(Path(folder).is_relative_to(mount) for mount in mounts), folder
    assert service["environment"]["LLAMERO_API_KEY_FILE"] in [f"/run/secrets/{name}" for name in service["secrets"]]


def test_mounts_secrets_and_volumes_of_compose_are_there():
    project = compose()
    ignored = (FOLDER / ".gitignore").read_text().splitlines()
    used, secrets, absent = set(), set(), []
    for service in project["services"].values():
        secrets |= set(service.get("secrets", []))
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if not source.startswith("."):
                used.add(source)
            elif source.startswith("./secrets"):
                assert "/secrets/" in ignored
            elif not (FOLDER / source).exists():
                absent.append((FOLDER / source).resolve().relative_to(ROOT / "deploy"))

    assert used == set(project["volumes"]) and secrets == set(project["secrets"])
    assert all(secret["file"].startswith("./secrets/") for secret in project["secrets"].values())
    # A part that is not written yet is said aloud; a file that is missing in a part that exists is a fault.
    parts = {path.parts[0] for path in absent}
    assert not [part for part in parts if (ROOT / "deploy" / part).exists()], absent
    if parts:
        pytest.skip(f"deploy has no {', '.join(sorted(parts))} yet; everything else is there")


def test_prometheus_of_compose_finds_the_server_and_the_rules():
    config, project = yaml.safe_load((FOLDER / "prometheus.yml").read_text()), compose()
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    service = project["services"]["prometheus"]

    assert jobs["llamero"]["static_configs"] == [{"targets": [f"llamero:{options()['LLAMERO_PORT']}"]}]
    assert jobs["llamero"]["authorization"]["credentials_file"] in [f"/run/secrets/{name}" for name in service["secrets"]]
    ((manager,),) = [entry["targets"] for entry in config["alerting"]["alertmanagers"][0]["static_configs"]]
    host, port = manager.split(":")
    assert any(published.endswith(f":{port}") for published in project["services"][host]["ports"])
    assert config["rule_files"] == ["rules/*.yml"] and "../prometheus/rules:/etc/prometheus/rules:ro" in service["volumes"]
    assert f"./prometheus.yml:{service['command'][0].partition('=')[2]}:ro" in service["volumes"]


@pytest.mark.skipif(program("promtool") is None, reason="no promtool here: apt-get install prometheus")
@pytest.mark.skipif(not (ROOT / "deploy/prometheus/rules").is_dir(), reason="deploy has no prometheus yet")
def test_promtool_understands_the_configuration_with_its_rules(tmp_path):
    shutil.copy(FOLDER / "prometheus.yml", tmp_path)
    shutil.copytree(ROOT / "deploy/prometheus/rules", tmp_path / "rules")

    done = subprocess.run([program("promtool"), "check", "config", "--syntax-only", tmp_path / "prometheus.yml"], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    jobs = set(re.findall(r'job="([^"]+)"', "".join(file.read_text() for file in (tmp_path / "rules").glob("*.yml"))))
    assert "llamero" in jobs


def has_compose():
    docker = program("docker")
    return docker is not None and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_compose(), reason="no docker with compose here")
def test_compose_understands_its_file():
    command = [program("docker"), "compose", "-f", FOLDER / "compose.yaml", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0 and done.stderr == "", done.stderr

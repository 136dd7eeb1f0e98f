"""The files of deploy/haproxy, deploy/nginx and deploy/vllm-router: by the programs' own checks, and against the server's options.

tests/deploy/live has the tests with running programs.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import proxies
import pytest
from server_options import options, seconds

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
HAPROXY = DEPLOY / "haproxy" / "haproxy.cfg"
NGINX = DEPLOY / "nginx" / "llamero.conf"
ROUTER = DEPLOY / "vllm-router" / "vllm-router.sh"
# Programs of this Python environment come first.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# The addresses that all three files begin with.
FRONT, REPLICAS = "127.0.0.1:8000", ["127.0.0.1:8001", "127.0.0.1:8002"]


def run(*command):
    """What a program says; fails if it finds fault."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def program(name, package):
    return shutil.which(name, path=PATH) or pytest.skip(f"SKIPPED: no {name} here ({package})")


def settings(file):
    """Lines of a configuration without comments."""
    return "\n".join(line for line in file.read_text().splitlines() if not line.lstrip().startswith("#"))


def value(pattern, file):
    """The one value that a pattern finds."""
    (found,) = re.findall(pattern, settings(file), re.MULTILINE)
    return found


def haproxy_seconds(name):
    return period(value(rf"^ +timeout {name} +(\S+)$", HAPROXY))


def period(text):
    """A time as HAProxy and nginx write it, seconds."""
    return int(text[:-1]) * 3600 if text.endswith("h") else seconds(text)


def megabytes(text):
    return int(text.removesuffix("m")) << 20


def test_haproxy_understands_every_line():
    if reason := proxies.missing("haproxy"):
        pytest.skip(reason)

    said = run(proxies.binary("haproxy"), "-c", "-f", HAPROXY)

    assert "warning" not in said.lower() and "alert" not in said.lower(), said


def test_nginx_understands_every_line(tmp_path):
    if reason := proxies.missing("nginx"):
        pytest.skip(reason)
    configuration = tmp_path / "llamero.conf"
    configuration.write_text(NGINX.read_text().replace("/var/log/nginx", str(tmp_path)))
    main = tmp_path / "nginx.conf"
    main.write_text(proxies.NGINX_MAIN.format(folder=tmp_path, http=f"include {configuration};"))

    said = run(proxies.binary("nginx"), "-t", "-c", main, "-p", tmp_path)

    assert "[warn]" not in said and "[emerg]" not in said, said


def test_shellcheck_has_nothing_to_say_to_the_script_of_vllm_router():
    run(program("shellcheck", "tests/deploy/requirements.txt"), "-ax", ROUTER)


def test_vllm_router_knows_every_option_of_its_script():
    known = set(re.findall(r"--[a-z][a-z-]+", run(program("vllm-router", "tests/deploy/requirements.txt"), "--help")))

    used = set(re.findall(r"--[a-z][a-z-]+", re.sub(r"^ *#.*", "", ROUTER.read_text(), flags=re.MULTILINE)))

    assert len(used) > 10 and used <= known, used - known


def test_addresses_are_the_same_in_all_files():
    assert value(r"^ +bind (127\S+:8000)$", HAPROXY) == FRONT == value(r"^ +listen (\S+);", NGINX)
    assert re.findall(r"^ +server \w (\S+)$", settings(HAPROXY), re.MULTILINE) == REPLICAS
    assert re.findall(r"^ +server (\S+) max_fails=0;", settings(NGINX), re.MULTILINE) == REPLICAS
    script = ROUTER.read_text()
    assert " ".join(f"http://{address}" for address in REPLICAS) in script
    assert "ROUTER_HOST:-127.0.0.1}" in script and "ROUTER_PORT:-8000}" in script


def test_a_replica_that_is_about_to_stop_is_noticed_within_its_delay():
    script = ROUTER.read_text()
    found = re.findall(r"^#LLAMERO_SHUTDOWN_DELAY=(\S+)$", (DEPLOY / "systemd/llamero.env").read_text(), re.MULTILINE)
    (delay,) = map(seconds, found)
    inter, fast, fall = re.search(r"check inter (\S+) fastinter (\S+) .*fall (\d+)", settings(HAPROXY)).groups()

    # The first check comes after `inter`, the others after `fastinter`; the last one may take its whole time.
    assert seconds(inter) + (int(fall) - 1) * seconds(fast) + haproxy_seconds("check") < delay
    assert value(r"^ +option httpchk GET (\S+)$", HAPROXY) == "/readyz"
    assert "--health-check-endpoint /readyz" in script
    interval, timeout = (int(re.search(rf"--health-check-{name}-secs (\d+)", script)[1]) for name in ("interval", "timeout"))
    assert "--health-failure-threshold 1 " in script and interval + timeout < delay


def test_no_time_limit_cuts_a_long_prompt():
    keep_alive = seconds(options()["LLAMERO_KEEP_ALIVE"])
    limits = [haproxy_seconds("client"), haproxy_seconds("server"), period(value(r"proxy_read_timeout (\S+);", NGINX))]

    assert min(limits) >= 3600 > keep_alive
    assert int(re.search(r"--request-timeout-secs (\d+)", ROUTER.read_text())[1]) >= 3600


def test_idle_connections_are_closed_by_the_balancer_first():
    assert period(value(r"^ +keepalive_timeout (\S+);", NGINX)) < seconds(options()["LLAMERO_IDLE_TIMEOUT"])
    assert "option http-server-close" in settings(HAPROXY)


def test_a_body_that_llamero_accepts_is_accepted_by_the_balancers():
    accepted = int(options()["LLAMERO_MAX_BODY_BYTES"])

    assert megabytes(value(r"client_max_body_size (\S+);", NGINX)) > accepted
    assert megabytes(value(r"client_body_buffer_size (\S+);", NGINX)) >= accepted
    assert int(re.search(r"--max-payload-size (\d+)", ROUTER.read_text())[1]) > accepted
    assert haproxy_seconds("http-request") >= seconds(options()["LLAMERO_BODY_TIMEOUT"])

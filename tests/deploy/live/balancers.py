"""The load balancers of deploy/ as they are shipped, on free ports of 127.0.0.1, before two replicas on others.

Only addresses, paths and users are replaced. Knows how each program is started and stopped, not what is tested with it.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import proxies
from shipped import rewrite
from support import ROOT, clean_environment, end, wait_until

NAMES = ["haproxy", "nginx", "vllm-router"]
DEPLOY = ROOT / "deploy"
SECONDS_TO_START = 60


def missing(name):
    """The reason for which there is no such program here, or None."""
    if name != "vllm-router":
        return proxies.missing(name)
    return None if router() else "SKIPPED: no vllm-router here (tests/deploy/requirements.txt)"


def router():
    """The path of vllm-router, which is installed beside this Python."""
    beside = Path(sys.executable).parent
    return shutil.which("vllm-router", path=os.pathsep.join([str(beside), os.environ["PATH"]]))


def stable_port():
    """A free port that the kernel gives to no outgoing connection: a replica that is away for seconds gets it again."""
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    below, above = range(10_000, lowest), range(highest + 1, 65_536)
    while True:
        port = random.choice(below or above)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def haproxy(folder, port, replicas):
    configuration = folder / "haproxy.cfg"
    shutil.copy(DEPLOY / "haproxy/haproxy.cfg", configuration)
    rewrite(
        configuration,
        ("log /dev/log local0", "log stdout format raw local0"),
        ("    user haproxy\n    group haproxy\n", ""),
        ("/run/haproxy/admin.sock", str(folder / "admin.sock")),
        ("bind 127.0.0.1:8000", f"bind 127.0.0.1:{port}"),
        ("bind 127.0.0.1:8404", f"bind 127.0.0.1:{stable_port()}"),
        ("127.0.0.1:8001", f"127.0.0.1:{replicas[0]}"),
        ("127.0.0.1:8002", f"127.0.0.1:{replicas[1]}"),
    )
    return [proxies.binary("haproxy"), "-db", "-f", configuration], {}


def nginx(folder, port, replicas):
    configuration, main = folder / "llamero.conf", folder / "nginx.conf"
    shutil.copy(DEPLOY / "nginx/llamero.conf", configuration)
    rewrite(
        configuration,
        ("listen 127.0.0.1:8000", f"listen 127.0.0.1:{port}"),
        ("/var/log/nginx/llamero.log", str(folder / "llamero.log")),
        ("127.0.0.1:8001", f"127.0.0.1:{replicas[0]}"),
        ("127.0.0.1:8002", f"127.0.0.1:{replicas[1]}"),
    )
    main.write_text(proxies.NGINX_MAIN.format(folder=folder, http=f"include {configuration};"))
    return [proxies.binary("nginx"), "-c", main, "-p", folder], {}


def vllm_router(folder, port, replicas):
    addresses = {
        "ROUTER_REPLICAS": " ".join(f"http://127.0.0.1:{replica}" for replica in replicas),
        "ROUTER_PORT": str(port),
        "ROUTER_METRICS_PORT": str(stable_port()),
        "ROUTER_PROGRAM": router(),
    }
    return [DEPLOY / "vllm-router/vllm-router.sh"], addresses


COMMANDS = {"haproxy": haproxy, "nginx": nginx, "vllm-router": vllm_router}


@contextmanager
def running(name, folder, *replicas):
    """The balancer of this name before replicas at these two ports; yields its own port."""
    folder = folder / name
    folder.mkdir()
    port = stable_port()
    command, variables = COMMANDS[name](folder, port, replicas)
    out = folder / "out"
    with out.open("wb") as lines:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, env=clean_environment(**variables)
        )
    try:
        wait_until(lambda: proxies.listens(port, process, out), SECONDS_TO_START, lambda: f"{name} listens:\n{out.read_text()}")
        yield port
    finally:
        end(process)

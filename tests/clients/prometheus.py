"""A Prometheus that scrapes a server: started on a free port of 127.0.0.1, stopped by its process id.

It is Debian's package; scripts/test installs it. Knows its configuration and its HTTP interface, not the queries.
"""

import json
import subprocess
import urllib.parse
import urllib.request
from contextlib import contextmanager

from proxies import binary, listens
from support import end, free_port, wait_until

JOB = "llamero"

CONFIGURATION = """
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: {job}
    static_configs:
      - targets: ["127.0.0.1:{target}"]
"""


def missing():
    """The reason for which there is no Prometheus here, or None."""
    return None if binary("prometheus") else "SKIPPED: no prometheus here (apt-get install prometheus)"


class Prometheus:
    """A running one, at this port."""

    def __init__(self, port):
        self.port = port

    def query(self, expression):
        """The values that an instant query gives now, by its labels as text."""
        address = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(address, timeout=30) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return {json.dumps(row["metric"], sort_keys=True): float(row["value"][1]) for row in body["data"]["result"]}


@contextmanager
def scraping(folder, target):
    """A Prometheus that scrapes the server at the port `target` each second."""
    port = free_port()
    configuration, out = folder / "prometheus.yml", folder / "prometheus.out"
    configuration.write_text(CONFIGURATION.format(job=JOB, target=target))
    command = [
        binary("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with out.open("wb") as lines:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines)
    try:
        wait_until(lambda: listens(port, process, out), 30, "Prometheus listens")
        yield Prometheus(port)
    finally:
        end(process)

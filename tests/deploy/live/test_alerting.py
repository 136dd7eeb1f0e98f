"""The shipped rules and routes at work: a Prometheus and an Alertmanager of Debian's packages, and a live llamero.

The files are those of deploy/, with other addresses and shorter times, so that each test ends within two minutes.
"""

import json
import os
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from contextlib import ExitStack, contextmanager

import pytest
import receivers
import support
from shipped import rewrite
from support import ROOT, answering, free_port, wait_until

PACKAGES = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
# A machine that others use has its moments.
SECONDS = 60


@pytest.fixture
def programs():
    """The path of each program; skips aloud where one is not installed."""
    found = {}
    for name, package in PACKAGES.items():
        # Debian gives its Alertmanager a longer name.
        path = shutil.which(name) or shutil.which(package)
        if path is None:
            pytest.skip(f"no {name} here: apt-get install {package}")
        found[name] = path
    return found


def get(url, path, body=None):
    """The JSON of an answer to GET, or to POST if there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


@contextmanager
def program(command, port, out):
    """A program that answers /-/ready on this port; stopped by its process id. Yields its URL."""
    url = f"http://127.0.0.1:{port}"
    with out.open("wb") as lines:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, env=support.clean_environment()
        )

    def ready():
        assert process.poll() is None, f"exit {process.returncode}:\n{out.read_text()}"
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    try:
        wait_until(ready, SECONDS, lambda: f"{command[0]} is ready:\n{out.read_text()}")
        yield url
    finally:
        support.end(process)


@contextmanager
def alertmanager(path, folder, webhooks, mailbox):
    """The shipped Alertmanager, whose mails and messages go to these receivers; tickets go to the chat too."""
    configuration, chat_url = folder / "alertmanager.yml", folder / "chat_url"
    shutil.copy(ROOT / "deploy/alertmanager/alertmanager.yml", configuration)
    chat_url.write_text(f"{webhooks.url}/chat\n")
    rewrite(
        configuration,
        ("smtp.example.com:587", mailbox.address),
        ("smtp_require_tls: true", "smtp_require_tls: false"),
        ("/etc/prometheus/secrets/chat_url", str(chat_url)),
        ("https://watchdog.example.com/llamero", f"{webhooks.url}/watchdog"),
        ("#slack_configs: *chat", "slack_configs: *chat"),
        ("group_wait: 30s", "group_wait: 1s"),
        ("group_wait: 10s", "group_wait: 1s"),
        ("group_interval: 5m", "group_interval: 2s"),
        ("group_interval: 1m", "group_interval: 2s"),
        ("repeat_interval: 2m", "repeat_interval: 4s"),
    )
    port = free_port()
    command = [
        path,
        f"--config.file={configuration}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with program(command, port, folder / "alertmanager.out") as url:
        yield url


@contextmanager
def prometheus(path, folder, server, alerts_to):
    """The shipped Prometheus, which scrapes this server each second and forgets the death of an engine after 15 s."""
    shipped = folder / "prometheus"
    shutil.copytree(ROOT / "deploy/prometheus", shipped)
    rewrite(
        shipped / "prometheus.yml",
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("scrape_timeout: 10s", "scrape_timeout: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
        ("127.0.0.1:9093", urllib.parse.urlsplit(alerts_to).netloc),
    )
    rewrite(shipped / "targets/llamero.yml", ("127.0.0.1:8000", f"127.0.0.1:{server.port}"))
    rewrite(
        shipped / "rules/alerts.yml",
        ('increase(llamero:engine_deaths_total{job="llamero"}[15m]) > 0', 'increase(llamero:engine_deaths_total{job="llamero"}[15s]) > 0'),
    )
    port = free_port()
    command = [
        path,
        f"--config.file={shipped / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        # An alert that is sent before Alertmanager is known comes again after this time.
        "--rules.alert.resend-delay=5s",
        "--log.level=warn",
    ]
    with program(command, port, folder / "prometheus.out") as url:
        yield url


def query(url, expression):
    """The values that an instant query gives now."""
    rows = get(url, "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))["data"]["result"]
    return [float(row["value"][1]) for row in rows]


def test_a_killed_engine_is_told_to_chat_and_mail_and_so_is_its_recovery(programs, tmp_path):
    if reason := support.missing():
        pytest.skip(reason)
    with ExitStack() as stack:
        webhooks = stack.enter_context(answering(receivers.Webhooks()))
        mailbox = stack.enter_context(answering(receivers.Mailbox()))
        server = stack.enter_context(support.serving(tmp_path / "log", "--max-num-seqs", "2", "--max-model-len", "512"))
        alerts_to = stack.enter_context(alertmanager(programs["alertmanager"], tmp_path, webhooks, mailbox))
        asked = stack.enter_context(prometheus(programs["prometheus"], tmp_path, server, alerts_to))

        def messages():
            return [(attachment["title"], attachment["text"]) for body in webhooks.at("/chat") for attachment in body["attachments"]]

        def told(title):
            return next((text for found, text in messages() if found == title), None)

        wait_until(lambda: query(asked, 'up{job="llamero"}') == [1], SECONDS, "the server is scraped")
        wait_until(lambda: query(asked, "llamero:engine_up") == [1], SECONDS, "its metrics are there")
        deaths = "sum(count_over_time(llamero:engine_deaths_total[1m])) / count(llamero:engine_deaths_total)"
        wait_until(lambda: any(scrapes >= 3 for scrapes in query(asked, deaths)), SECONDS, "deaths are known at 0")
        wait_until(lambda: webhooks.at("/watchdog"), SECONDS, "the Watchdog arrives")
        assert messages() == [], "nothing is wrong yet"

        os.kill(server.engine_pid(), signal.SIGKILL)

        text = wait_until(lambda: told("FIRING: LlameroEngineRestarts"), SECONDS, lambda: f"the alert fires: {webhooks.received}")
        assert f"127.0.0.1:{server.port}" in text and "signal_9" in text
        assert "docs/RUNBOOK.md#llameroenginerestarts" in text
        wait_until(lambda: told("RESOLVED: LlameroEngineRestarts"), SECONDS, lambda: f"the alert resolves: {messages()}")
        wait_until(server.ready, SECONDS, "another engine serves")

        wait_until(lambda: len(mailbox.subjects("team@example.com")) >= 2, SECONDS, lambda: f"mails to the team: {mailbox.mails}")
        firing, *_, resolved = mailbox.subjects("team@example.com")
        assert firing.startswith("[FIRING:1] LlameroEngineRestarts") and resolved.startswith("[RESOLVED] LlameroEngineRestarts")
        assert mailbox.subjects("oncall@example.com") == [], "a ticket wakes nobody"

        watchdog = webhooks.at("/watchdog")
        assert {alert["labels"]["alertname"] for body in watchdog for alert in body["alerts"]} == {"Watchdog"}
        wait_until(lambda: len(webhooks.at("/watchdog")) > len(watchdog), SECONDS, "the Watchdog arrives again")
        rules = get(asked, "/api/v1/rules")["data"]["groups"]
        assert [rule["lastError"] for group in rules for rule in group["rules"] if rule.get("lastError")] == []


HERE, ELSEWHERE = {"instance": "a:8000"}, {"instance": "b:8000"}
DOWN = {"alertname": "LlameroDown", "severity": "page", "family": "server"}
NO_ENGINE = {"alertname": "LlameroEngineDown", "severity": "page", "family": "engine"}
SLOW = {"alertname": "LlameroTtftBurnFast", "severity": "page", "family": "ttft"}
SLOWLY = {"alertname": "LlameroTtftBurnSlow", "severity": "ticket", "family": "ttft"}
DEATHS = {"alertname": "LlameroEngineRestarts", "severity": "ticket", "family": "engine-deaths"}
HOT = {"alertname": "LlameroGpuHot", "severity": "ticket", "family": "gpu-temperature"}
OVERHEATS = {"alertname": "LlameroGpuOverheats", "severity": "page", "family": "gpu-temperature"}
WATCHDOG = {"alertname": "Watchdog", "severity": "none"}


@pytest.mark.parametrize(
    ("cause", "silenced", "heard"),
    [
        (DOWN | HERE, [NO_ENGINE | HERE, SLOW | HERE, DEATHS | HERE], [NO_ENGINE | ELSEWHERE, WATCHDOG]),
        (NO_ENGINE | HERE, [SLOW | HERE, SLOWLY | HERE], [DEATHS | HERE, SLOW | ELSEWHERE, WATCHDOG]),
        (SLOW | HERE, [SLOWLY | HERE], [SLOWLY | ELSEWHERE, DEATHS | HERE]),
        (OVERHEATS | HERE | {"gpu": "0"}, [HOT | HERE | {"gpu": "0"}], [HOT | HERE | {"gpu": "1"}]),
    ],
    ids=["server", "engine", "family", "gpu"],
)
def test_consequences_of_a_known_cause_are_not_sent(programs, tmp_path, cause, silenced, heard):
    with ExitStack() as stack:
        webhooks = stack.enter_context(answering(receivers.Webhooks()))
        mailbox = stack.enter_context(answering(receivers.Mailbox()))
        url = stack.enter_context(alertmanager(programs["alertmanager"], tmp_path, webhooks, mailbox))

        # The cause first: an alert that is sent before its cause is known is sent.
        get(url, "/api/v2/alerts", [{"labels": cause}])
        wait_until(lambda: len(get(url, "/api/v2/alerts")) == 1, SECONDS, "the cause is known")
        get(url, "/api/v2/alerts", [{"labels": labels} for labels in silenced + heard])
        wait_until(lambda: len(get(url, "/api/v2/alerts")) == 1 + len(silenced + heard), SECONDS, "all alerts are known")

        states = {json.dumps(alert["labels"], sort_keys=True): alert["status"]["inhibitedBy"] != [] for alert in get(url, "/api/v2/alerts")}
        assert states == {json.dumps(labels, sort_keys=True): labels in silenced for labels in [cause, *silenced, *heard]}

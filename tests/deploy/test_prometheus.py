"""The files of deploy/prometheus and deploy/alertmanager, read by their own checkers; and that none of them forgets one.

Needs no server: tests/deploy/live has the tests with running programs. YAML is read with regular expressions, since
Python has no reader for it; the checkers see to the syntax.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules"
UNIT_TESTS = sorted((RULES / "tests").glob("*.yml"))
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
TABLE = ROOT / "src" / "telemetry" / "metrics" / "table.rs"
RUNBOOK = ROOT / "docs" / "RUNBOOK.md"
PACKAGES = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}

# The only alert that cannot be quiet.
ALWAYS_FIRES = {"Watchdog"}
# Names of other programs: Prometheus itself, dcgm-exporter, node_exporter, blackbox_exporter.
FOREIGN = re.compile(r"up|DCGM_\w+|node_\w+|probe_\w+")


def check(program, *arguments):
    """Runs a checker and returns its words; skips aloud where it is not installed, and fails if it finds fault."""
    path = shutil.which(program, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    if path is None:
        pytest.skip(f"no {program} here: apt-get install {PACKAGES[program]}")
    done = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def alerts():
    """The text of each alert's rule by its name."""
    parts = re.split(r"^ +- alert: (\w+)$", (RULES / "alerts.yml").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def expressions():
    """Every PromQL expression of the rules."""
    found = []
    for file in RULES.glob("*.yml"):
        text = re.sub(r"^ *#.*\n", "", file.read_text(), flags=re.MULTILINE)
        found += re.findall(r"^ +expr: (?:\|\n)?(.*?)(?=^ +(?:for|labels|annotations|- \w+):|\Z)", text, re.MULTILINE | re.DOTALL)
    return found


def series(expression):
    """The names of series in a PromQL expression."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    names = re.findall(r"(?<![\w:.])[A-Za-z_][\w:]*(?!\w|\s*\()", bare)
    return set(names) - {"and", "or", "unless"}


def served():
    """The names of series in /metrics, by the server's own table; histograms have three for each name."""
    table = TABLE.read_text()
    constants = dict(re.findall(r'const (\w+): &str = "([^"]+)"', table))
    blocks = dict(re.findall(r"pub\(super\) const (HISTOGRAMS|COUNTERS|GAUGES): .*?\[\n(.*?)^\];", table, re.MULTILINE | re.DOTALL))
    names = {}
    for kind, block in blocks.items():
        firsts = re.findall(r'^ +\(\s*(?:name::(\w+)|"([^"]+)")', block, re.MULTILINE)
        names[kind] = {constants[constant] if constant else literal for constant, literal in firsts}
    assert all(len(names[kind]) > 10 for kind in ("HISTOGRAMS", "COUNTERS", "GAUGES")), names
    return names["COUNTERS"] | names["GAUGES"] | {name + end for name in names["HISTOGRAMS"] for end in ("_bucket", "_count", "_sum")}


def test_prometheus_accepts_the_configuration_without_a_warning():
    said = check("promtool", "check", "config", PROMETHEUS / "prometheus.yml")

    assert "WARNING" not in said and "2 rule files found" in said, said


def test_prometheus_accepts_the_rules_and_none_is_there_twice():
    check("promtool", "check", "rules", "--lint-fatal", *sorted(RULES.glob("*.yml")))


@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.stem)
def test_the_rules_do_what_their_unit_tests_say(file):
    check("promtool", "test", "rules", file)


def test_every_alert_has_a_unit_test_in_which_it_fires_and_one_in_which_it_does_not():
    checked = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?$", "".join(file.read_text() for file in UNIT_TESTS), re.MULTILINE)
    firing = {name for name, nothing in checked if not nothing}
    quiet = {name for name, nothing in checked if nothing}

    assert len(alerts()) > 25
    assert firing == set(alerts())
    assert quiet == set(alerts()) - ALWAYS_FIRES


def test_every_alert_has_a_severity_and_says_what_and_where_and_what_to_do():
    for name, rule in alerts().items():
        severity = re.search(r"^ +labels: \{severity: (page|ticket|none)\b", rule, re.MULTILINE)
        assert severity and (severity[1] == "none") == (name in ALWAYS_FIRES), name
        assert "family:" in rule or severity[1] == "none", name
        assert re.search(r"^ +summary: .", rule, re.MULTILINE) and re.search(r"^ +description: .", rule, re.MULTILINE), name
        assert f"runbook_url: docs/RUNBOOK.md#{name.lower()}\n" in rule, name
        without_instance = ALWAYS_FIRES | {"LlameroTargetMissing"}
        assert ("{{ $labels.instance }}" in rule) == (name not in without_instance), name


def test_the_runbook_has_a_section_for_each_alert_in_their_order_and_no_other():
    text = RUNBOOK.read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    titles = [section.splitlines()[0] for section in sections]

    assert titles == ["First look", *alerts()]
    for title, section in zip(titles[1:], sections[1:]):
        parts = {part.lower() for part in re.findall(r"\*\*(.*?)\*\*", section)}
        assert parts == {"meaning", "users see", "look at", "do", "ignore it when"}, title


def test_every_series_of_the_rules_is_one_of_the_server_or_of_a_known_exporter():
    recorded = set(re.findall(r"- record: (\S+)", (RULES / "recording.yml").read_text()))
    used = set().union(*map(series, expressions()))

    assert {"up", "llamero:engine_up", "vllm:time_to_first_token_seconds_bucket"} <= used
    assert {name for name in used if not FOREIGN.fullmatch(name)} <= served() | recorded
    assert recorded <= used, "a recorded series that no rule uses"


def test_the_objectives_are_bounds_of_buckets():
    table = TABLE.read_text()
    rules = (RULES / "recording.yml").read_text()
    for buckets, metric in [("TTFT_BUCKETS", "vllm:time_to_first_token_seconds"), ("ITL_BUCKETS", "vllm:inter_token_latency_seconds")]:
        bounds = re.search(rf"const {buckets}: &\[f64\] =\s*&\[([^\]]*)\]", table)[1].replace(" ", "").split(",")
        used = set(re.findall(rf'{metric}_bucket\{{[^}}]*le="([^"]+)"', rules))

        assert len(used) == 1 and used <= set(bounds), (metric, used)


def test_alertmanager_accepts_its_configuration():
    said = check("amtool", "check-config", ALERTMANAGER)

    assert "3 receivers" in said and "3 inhibit rules" in said, said


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=LlameroDown", "severity=page"], "page"),
        (["alertname=LlameroDiskLow", "severity=ticket"], "ticket"),
        (["alertname=Watchdog", "severity=none"], "watchdog"),
        (["alertname=OfSomebodyElse"], "ticket"),
    ],
)
def test_an_alert_goes_to_the_receiver_of_its_severity(labels, receiver):
    check("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}", *labels)


def test_pages_go_to_mail_and_chat_and_no_secret_is_in_the_file():
    text = ALERTMANAGER.read_text()
    receivers = dict(re.findall(r"^  - name: (\w+)\n(.*?)(?=^  - name|\Z)", text, re.MULTILINE | re.DOTALL))

    assert "email_configs" in receivers["page"] and "\n    slack_configs" in receivers["page"]
    assert "email_configs" in receivers["ticket"]
    assert "webhook_configs" in receivers["watchdog"]
    assert set(re.findall(r"[\w.-]+@([\w.-]+)|https?://([\w.-]+)", text)) <= {("example.com", ""), ("", "watchdog.example.com")}
    assert re.findall(r"password:|api_url:|credentials:|token:", text) == []

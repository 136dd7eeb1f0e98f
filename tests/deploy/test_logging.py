"""The files of deploy/logging and docs/LOGS.md, on a log that a real server wrote (tests/deploy/record_log.py).

lnav, jq and sqlite3 read that log for real. The program of Vector is compiled and run by VRL's own library; the rest of
Vector's configuration and that of Google's Ops Agent are only read, since neither Debian nor PyPI has their programs.
"""

import csv
import json
import math
import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOGGING = ROOT / "deploy" / "logging"
FIXTURE = ROOT / "tests" / "deploy" / "fixtures" / "llamero.jsonl"
LINES = [json.loads(line) for line in FIXTURE.read_text().splitlines()]
REQUEST_KINDS = {"generation", "embedding", "request"}
REQUESTS = [line for line in LINES if line["message"] in REQUEST_KINDS]
GENERATIONS = [line for line in REQUESTS if line["message"] == "generation"]
LOGS = (ROOT / "docs" / "LOGS.md").read_text()
RECIPES = dict(re.findall(r"^## (.+?)\n.*?^```sh\n(.*?)^```", (LOGGING / "RECIPES.md").read_text(), re.MULTILINE | re.DOTALL))


def needs(*programs):
    """Skips aloud where a program is missing; most of Debian's packages have the programs' names."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here: apt-get install {'prometheus' if program == 'promtool' else program}")


def result(line):
    """The status of a request, or the word in which it ended."""
    return str(line.get("status") or line["outcome"])


def p(share, numbers):
    return sorted(numbers)[math.ceil(len(numbers) * share) - 1]


# The log and its description


def test_the_log_has_every_kind_of_end_and_nothing_of_a_machine():
    results = Counter(map(result, REQUESTS))
    messages = [line["message"] for line in LINES]

    assert {"400", "401", "404", "405", "413", "429", "503", "finished", "client_gone", "overloaded", "shutting_down"} <= set(results)
    assert 60 <= len(LINES) <= 150
    for beginning in ["loading the model", "the engine is ready", "ready", "the engine died: ", "SIGHUP: ", "SIGTERM: ", "stopped", "engine: "]:
        assert any(message.startswith(beginning) for message in messages), beginning
    paths = re.findall(r"(?<![\w/:.])/[a-z0-9]+(?=/)", FIXTURE.read_text())
    assert set(paths) == {"/v1", "/models", "/var"}


def schema():
    jsonschema = pytest.importorskip("jsonschema", reason="no jsonschema here: pip install -r tests/deploy/requirements.txt")
    document = json.loads((LOGGING / "log.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document), document["$defs"]


def test_every_line_is_as_the_schema_says():
    validator, _ = schema()

    for line in LINES:
        assert [error.message for error in validator.iter_errors(line)] == [], line


@pytest.mark.parametrize(
    "change",
    [{"status": "400"}, {"total_seconds": -1}, {"level": "info"}, {"new_field": 1}, {"timestamp": "2026-11-30 20:31:00"}, {"message": "generation"}],
    ids=str,
)
def test_the_schema_refuses_other_lines(change):
    validator, _ = schema()
    line = next(line for line in LINES if line["message"] == "request")

    assert validator.is_valid(line)
    assert not validator.is_valid(line | change)


def documented(heading):
    """The fields in the tables of a section of docs/LOGS.md: their names, and true if they are rare."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", LOGS, re.MULTILINE | re.DOTALL)[1]
    return {name: "rare" in row for row, name in re.findall(r"^(\| `([a-z_.]+)` \| (?:string|integer|number|boolean|object) \|.*)$", section, re.MULTILINE)}


def fields(lines):
    """The names of all fields, those of the span with its name before."""
    names = {name for line in lines for name in line}
    return names | {f"span.{name}" for line in lines for name in line.get("span", {})}


def test_every_field_of_request_lines_is_described_and_every_described_one_occurs():
    described = documented("Every line") | documented("Request lines")
    found = fields(REQUESTS)

    assert len(found) > 20
    assert found - set(described) == set()
    assert {name for name, is_rare in described.items() if not is_rare} - found == set()


def test_every_field_of_other_lines_is_described():
    warnings = [line for line in LINES if line["message"] == "a request was not done as asked"]
    others = [line for line in LINES if line not in REQUESTS and line not in warnings]

    assert fields(warnings) == set(documented("Every line")) | {f"span.{name}" for name in warnings[0]["span"]} | set(documented("Warning lines"))
    assert {name for name in fields(others) if f"`{name}`" not in LOGS} == set()


def test_the_schema_has_the_fields_of_the_description():
    _, definitions = schema()
    base = set(documented("Every line"))
    tables = documented("Request lines")

    of_kinds = set().union(*(definitions[kind]["properties"] for kind in REQUEST_KINDS))
    assert of_kinds == base | {name for name in tables if not name.startswith("span.")}
    assert {f"span.{name}" for name in definitions["span"]["properties"]} == {name for name in tables if name.startswith("span.")}
    assert set(definitions["warning"]["properties"]) == base | set(documented("Warning lines"))


def test_every_field_that_the_server_writes_for_a_request_is_in_the_schema():
    _, definitions = schema()
    for kind in ["generation", "embedding"]:
        source = (ROOT / "src" / "telemetry" / f"{kind}.rs").read_text()
        event = re.search(r"tracing::info!\(\n(.*?)\n    \);", source, re.DOTALL)[1]
        written = set(re.findall(r"^ +(\w+)(?: =|,$)", event, re.MULTILINE))

        assert written | {"timestamp", "level", "message", "target", "span"} == set(definitions[kind]["properties"]), kind


# lnav


def run_lnav(folder, *arguments):
    """Runs lnav on the recorded log, with its format from the folder of `-I`."""
    needs("lnav")
    (folder / "formats" / "installed").mkdir(parents=True)
    shutil.copy(LOGGING / "lnav-llamero.json", folder / "formats" / "installed")
    command = ["lnav", "-n", "-I", folder, *arguments, FIXTURE]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"HOME": str(folder)}, check=False)


def lnav(folder, query):
    """The rows of a query on the recorded log."""
    done = run_lnav(folder, "-c", f";{query}", "-c", ":write-csv-to -")
    assert done.returncode == 0 and "✘" not in done.stderr + done.stdout, done.stderr + done.stdout
    return list(csv.DictReader(done.stdout.splitlines()))


def test_lnav_counts_requests_by_status(tmp_path):
    rows = lnav(tmp_path, "SELECT coalesce(status, outcome) AS result, count(*) AS requests FROM llamero_log WHERE result IS NOT NULL GROUP BY result")

    assert {row["result"]: int(row["requests"]) for row in rows} == Counter(map(result, REQUESTS))


def test_lnav_knows_the_levels_and_the_fields_of_the_span(tmp_path):
    rows = lnav(tmp_path, 'SELECT log_level AS level, coalesce("span/key", "") AS key, count(*) AS lines FROM llamero_log GROUP BY 1, 2')

    levels = {"WARN": "warning"}
    expected = Counter((levels.get(line["level"], line["level"].lower()), line.get("span", {}).get("key", "")) for line in LINES)
    assert {(row["level"], row["key"]): int(row["lines"]) for row in rows} == expected


def test_lnav_has_no_fault_to_find_with_the_format_and_knows_every_field(tmp_path):
    done = run_lnav(tmp_path, "-W")

    assert done.returncode == 0 and "warning:" not in done.stderr and "error:" not in done.stderr, done.stderr
    known = set(json.loads((LOGGING / "lnav-llamero.json").read_text())["llamero_log"]["value"])
    assert {name.replace(".", "/") for name in fields(LINES)} - {"timestamp", "level", "message"} <= known


# Recipes


@pytest.fixture
def recipe(tmp_path):
    """Runs a recipe beside the recorded log, or another, and returns its rows; one that follows the log is ended after 3 s."""

    def recipe(title, log=None):
        block = RECIPES[title]
        needs(*sorted(set(re.findall(r"\b(jq|lnav|sqlite3)\b", block))))
        (tmp_path / FIXTURE.name).write_text(log or FIXTURE.read_text())
        environment = os.environ | {"HOME": str(tmp_path)}
        if "lnav" in block:
            subprocess.run(["lnav", "-i", LOGGING / "lnav-llamero.json"], check=True, capture_output=True, timeout=60, env=environment)
        follows = "tail -n" in block
        command = [*(["timeout", "3"] if follows else []), "bash", "-o", "pipefail", "-c", block]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment, check=False)
        assert done.returncode == (124 if follows else 0) and done.stderr == "", (done.returncode, done.stderr)
        if "write-csv-to" in block:
            return list(csv.reader(done.stdout.splitlines()))[1:]
        return [line.split("\t") for line in done.stdout.splitlines()]

    return recipe


def by(lines, name):
    """Lines by a function of them."""
    groups = defaultdict(list)
    for line in lines:
        groups[name(line)].append(line)
    return groups


def key(line):
    return line["span"].get("key")


def is_failed(line):
    return line.get("status", 0) >= 400 or line.get("outcome", "finished") not in ("finished", "client_gone")


def without_numbers(text):
    return re.sub(r"\b[0-9]+\b", "N", text)


def test_there_are_ten_recipes_and_one_more_each_with_a_sentence():
    text = (LOGGING / "RECIPES.md").read_text()

    assert len(RECIPES) == text.count("```sh") == text.count("\n## ") == 11
    assert all(re.search(rf"^## {re.escape(title)}\n\n[A-Z0-9][^\n]+", text, re.MULTILINE) for title in RECIPES)


def test_slowest_keys(recipe):
    groups = by([line for line in GENERATIONS if line["outcome"] == "finished"], key)
    expected = {name: (p(0.95, [line["total_seconds"] for line in lines]), len(lines)) for name, lines in groups.items()}
    rows = recipe("Slowest keys")

    assert {name: (float(seconds), int(count)) for name, seconds, count in rows} == expected and len(expected) == 3
    assert [float(row[1]) for row in rows] == sorted((float(row[1]) for row in rows), reverse=True)


def test_refusals_by_reason(recipe):
    def reason(line):
        span = line["span"]
        return f"{line['status']} {span['method']} {span['path']}" if "status" in line else f"{line['outcome']}: {without_numbers(line['detail'])}"

    assert {text: int(count) for count, text in recipe("Refusals by reason")} == Counter(map(reason, filter(is_failed, REQUESTS)))


def test_time_to_the_first_token_by_hour(recipe):
    groups = by([line for line in GENERATIONS if "first_token_seconds" in line], lambda line: line["timestamp"][:13])
    times = {hour: [line["first_token_seconds"] for line in lines] for hour, lines in groups.items()}
    rows = recipe("Time to the first token by hour")

    assert {hour: (int(count), float(half), float(most)) for hour, count, half, most in rows} == {
        hour: (len(seconds), p(0.5, seconds), p(0.95, seconds)) for hour, seconds in times.items()
    }


def test_hours_are_apart(recipe):
    text = FIXTURE.read_text()
    hour = LINES[0]["timestamp"][:13]
    both = text + text.replace(hour, f"{hour[:11]}{(int(hour[11:]) + 1) % 24:02}")
    rows = recipe("Time to the first token by hour", both)

    assert len(rows) == 2 and rows[0][1:] == rows[1][1:]


def test_requests_by_model_and_route(recipe):
    groups = by(GENERATIONS, lambda line: (line["model"], line["endpoint"]))
    rows = recipe("Requests by model and route")

    assert {(model, endpoint): int(count) for model, endpoint, count, _ in rows} == {name: len(lines) for name, lines in groups.items()}
    for model, endpoint, _, mean in rows:
        seconds = [line["total_seconds"] for line in groups[model, endpoint]]
        assert float(mean) == pytest.approx(sum(seconds) / len(seconds), abs=0.001)


def test_tokens_by_key_and_day(recipe):
    groups = by(GENERATIONS, lambda line: (line["timestamp"][:10], key(line)))
    rows = recipe("Tokens by key and day")

    assert {(day, name): (int(prompt), int(completion)) for day, name, prompt, completion in rows} == {
        name: (sum(line["prompt_tokens"] for line in lines), sum(line["completion_tokens"] for line in lines)) for name, lines in groups.items()
    }


def test_requests_that_their_clients_left(recipe):
    left = [line for line in GENERATIONS if line["outcome"] == "client_gone"]

    assert [row[-1] for row in recipe("Requests that their clients left")] == [line["span"]["id"] for line in left] and left


def test_deaths_of_the_engine(recipe):
    engine = [line for line in LINES if line["message"].startswith(("the engine died", "the engine is ready"))][1:]
    rows = recipe("Deaths of the engine and the next start")

    assert [row[0] for row in rows] == [line["timestamp"] for line in engine[::2]] and len(rows) == 2
    for row, died, ready in zip(rows, engine[::2], engine[1::2], strict=True):
        seconds = (datetime.fromisoformat(ready["timestamp"]) - datetime.fromisoformat(died["timestamp"])).total_seconds()
        assert row[1:4] == ["signal_9", str(died["replayed"]), str(died["failed"])]
        assert float(row[4]) == pytest.approx(seconds, abs=0.006)


def test_an_engine_that_does_not_come_again_is_told(recipe):
    text = FIXTURE.read_text()
    last = text.rindex("the engine died")
    rows = recipe("Deaths of the engine and the next start", text[: text.index("\n", last) + 1])

    assert len(rows) == 2 and rows[0][-1] != "never" and rows[1][-1] == "never"


def test_most_frequent_warnings(recipe):
    texts = [text for line in REQUESTS if "warnings" in line for text in line["warnings"].split("; ")]

    assert {text: int(count) for count, text in recipe("Most frequent warnings")} == Counter(map(without_numbers, texts)) and len(texts) > 3


def test_share_of_prompt_tokens_from_the_cache(recipe):
    groups = by([line for line in GENERATIONS if line["prompt_tokens"]], key)
    expected = {name: (sum(line["prompt_tokens"] for line in lines), sum(line["cached_tokens"] for line in lines)) for name, lines in groups.items()}
    rows = recipe("Share of prompt tokens from the cache")

    assert {name: (int(prompt), int(cached)) for name, prompt, cached, _ in rows} == expected and len(expected) == 3
    assert all(float(percent) == pytest.approx(100 * int(cached) / int(prompt), abs=0.06) for _, prompt, cached, percent in rows)


def test_requests_slower_than_some_seconds(recipe):
    slow = sorted((line for line in REQUESTS if line["total_seconds"] > 2), key=lambda line: -line["total_seconds"])

    assert [row[0] for row in recipe("Requests slower than some seconds")] == [line["span"]["id"] for line in slow] and slow


def test_errors_as_they_come(recipe):
    def is_error(line):
        return line["level"] == "ERROR" or line.get("status", 0) >= 500 or line.get("outcome", "finished") not in ("finished", "client_gone")

    assert [row[0] for row in recipe("Errors as they come")] == [line["timestamp"] for line in LINES if is_error(line)]


# Vector and the Ops Agent


def configuration(name):
    yaml = pytest.importorskip("yaml", reason="no PyYAML here: pip install -r tests/deploy/requirements.txt")
    return yaml.safe_load((LOGGING / name).read_text())


def events(messages):
    """The events that Vector's program makes of lines of the journal."""
    vrl = pytest.importorskip("vrl_python", reason="no vrl-python here: pip install -r tests/deploy/requirements.txt")
    source = configuration("vector.yaml")["transforms"]["llamero_fields"]["source"]
    fault = vrl.VRLRuntime.check_syntax(source)
    assert fault is None, fault.formatted_message
    runtime = vrl.VRLRuntime()
    return [runtime.execute(source, {"message": message, "host": "h", "timestamp": "of the journal", "PRIORITY": "6"}).processed_event for message in messages]


def test_vectors_program_keeps_every_field_and_adds_labels_with_few_values():
    made = events(FIXTURE.read_text().splitlines())

    for event, line in zip(made, LINES, strict=True):
        assert {name: event[name] for name in line if name != "timestamp"} == {name: value for name, value in line.items() if name != "timestamp"}
        assert set(event) - set(line) == {"host", "route", "status_class"}
    routes = {"server", "other"} | {line["endpoint"] for line in GENERATIONS}
    assert {event["route"] for event in made} == routes
    classes = Counter(event["status_class"] for event in made if event["route"] != "server")
    warnings = sum(line["message"] == "a request was not done as asked" for line in LINES)
    ends = Counter(map(result, REQUESTS))
    assert classes == {
        "2xx": ends["finished"],
        "client_gone": ends["client_gone"],
        "4xx": sum(ends[status] for status in ["400", "401", "404", "405", "413", "429"]),
        "5xx": ends["503"] + ends["overloaded"] + ends["shutting_down"],
        "none": warnings,
    }


def test_vectors_program_lets_other_lines_through():
    (plain, number, cut) = events(["Started llamero.service.", "5", '{"level":"INFO","mess'])

    for event, message in [(plain, "Started llamero.service."), (number, "5"), (cut, '{"level":"INFO","mess')]:
        rest = {"host": "h", "level": "INFO", "timestamp": "of the journal", "route": "server", "status_class": "none"}
        assert event == rest | {"message": message}


def test_vectors_parts_are_connected_and_its_labels_are_few():
    vector = configuration("vector.yaml")
    names = set(vector["sources"]) | set(vector["transforms"])
    loki = vector["sinks"]["loki"]

    assert all(set(part["inputs"]) <= names for part in [*vector["transforms"].values(), *vector["sinks"].values()])
    assert loki["labels"] == {"app": "llamero"} | {name: f"{{{{ {name} }}}}" for name in ["level", "route", "status_class"]}
    assert "type: gcp_stackdriver_logs" in (LOGGING / "vector.yaml").read_text()


def test_the_ops_agent_knows_every_level_and_its_parts_are_connected():
    agent = configuration("ops-agent.yaml")
    _, definitions = schema()
    severities = agent["logging"]["processors"]["llamero_severity"]["fields"]["severity"]

    assert set(severities["map_values"]) == set(definitions["level"]["enum"]) and severities["copy_from"] == "jsonPayload.level"
    assert set(severities["map_values"].values()) == {"ERROR", "WARNING", "INFO", "DEBUG"}
    for kind in ["logging", "metrics"]:
        part = agent[kind]
        for pipeline in part["service"]["pipelines"].values():
            assert set(pipeline["receivers"]) <= set(part["receivers"])
            assert set(pipeline.get("processors", [])) <= set(part.get("processors", {}))
    parser = agent["logging"]["processors"]["llamero_json"]
    assert (parser["field"], parser["time_key"]) == ("MESSAGE", "timestamp")
    moment = parser["time_format"].replace("%L", "%f")
    assert all(datetime.strptime(line["timestamp"], moment) for line in LINES)


def test_prometheus_accepts_the_scrape_configuration_of_the_ops_agent(tmp_path):
    """The agent's receiver takes a configuration of Prometheus; the key must be there when it is read."""
    needs("promtool")
    scrape = configuration("ops-agent.yaml")["metrics"]["receivers"]["llamero"]["config"]
    text = json.dumps(scrape).replace("/etc/google-cloud-ops-agent", str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(text)

    def check():
        return subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, timeout=60, check=False)

    assert check().returncode == 1 and "llamero_key" in check().stderr
    (tmp_path / "llamero_key").write_text("k")
    assert check().returncode == 0, check().stderr


def test_the_key_file_of_the_ops_agent_is_explained_and_made_where_the_agent_is_installed():
    (scrape,) = configuration("ops-agent.yaml")["metrics"]["receivers"]["llamero"]["config"]["scrape_configs"]
    file = scrape["authorization"]["credentials_file"]

    assert file in (LOGGING / "README.md").read_text()
    startup = ROOT / "deploy" / "gcp" / "startup.sh"
    if startup.exists() and "ops-agent.yaml" in startup.read_text():
        folder, name = file.rsplit("/", 1)
        assert f"folder=$ROOT{folder}" in startup.read_text() and f"$folder/{name}" in startup.read_text(), "the agent refuses its configuration without this file"

"""The files of deploy/grafana: equal to those of the generator, valid for Grafana's own models, and complete.

No Grafana runs here. tests/deploy/live/test_grafana_live.py asks a Prometheus every query.
"""

import enum
import json
import re
import shutil
import subprocess
import sys
import types
import typing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in sorted((GRAFANA / "dashboards").glob("*.json"))}
SOURCE = ROOT / "src" / "telemetry" / "metrics"
RECORDING = ROOT / "deploy" / "prometheus" / "rules" / "recording.yml"

FOREIGN = re.compile(r"up|DCGM_FI_DEV_(GPU_UTIL|FB_USED|FB_FREE|GPU_TEMP|POWER_USAGE)")
WORDS = {"by", "or", "and", "sum", "max"}
# The three series of a histogram.
ENDS = ("_bucket", "_sum", "_count")
FORMER_NAMES = "a former name of a series that is shown"
NOT_SHOWN = {
    "vllm:time_per_output_token_seconds": FORMER_NAMES,
    "vllm:gpu_cache_usage_perc": FORMER_NAMES,
    "vllm:gpu_prefix_cache_queries_total": FORMER_NAMES,
    "vllm:gpu_prefix_cache_hits_total": FORMER_NAMES,
    "vllm:num_requests_swapped": "always 0",
}

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions():
    return {target["expr"] for dashboard in DASHBOARDS.values() for panel in panels(dashboard) for target in panel["targets"]}


def series(expression):
    """The names of series in a PromQL expression."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression)
    bare = re.sub(r"\b(by|without)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"(?<![\w:.])[A-Za-z_][\w:]*(?![\w:]|\s*\()", bare)) - WORDS


def in_the_table():
    """Every name in the server's table, by a way other than the generator's: all names of this form in the file."""
    table = (SOURCE / "table.rs").read_text()
    return set(re.findall(r'"((?:vllm:|llamero:|http_)[a-z0-9_]+)"', table + (SOURCE / "page.rs").read_text()))


def base(name):
    for end in ENDS:
        if name.endswith(end) and name.removesuffix(end) in in_the_table():
            return name.removesuffix(end)
    return name


def generate(out, source=SOURCE):
    command = [sys.executable, "-B", GRAFANA / "generate.py", "--source", source, "--out", out]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def changed_source(folder, old, new):
    """A copy of the server's table in which one text is another."""
    for name in ("table.rs", "page.rs"):
        (folder / name).write_text((SOURCE / name).read_text().replace(old, new))
    return folder


def test_the_committed_dashboards_are_those_that_the_generator_writes(tmp_path):
    done = generate(tmp_path)

    assert done.returncode == 0, done.stderr
    written = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    committed = {name: (GRAFANA / "dashboards" / name).read_text(encoding="utf-8") for name in DASHBOARDS}
    assert written.keys() == committed.keys()
    for name, text in written.items():
        assert text == committed[name], f"{name} is not of this table of metrics: python3 deploy/grafana/generate.py"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"vllm:prefix_cache_hits_total"', '"vllm:prefix_cache_found_total"', "no counter vllm:prefix_cache_hits_total"),
        ('"vllm:e2e_request_latency_seconds"', '"vllm:request_latency_seconds"', "no histogram vllm:e2e_request_latency_seconds"),
        ('"llamero:engine_up"', '"llamero:engine_serves"', "no gauge llamero:engine_up"),
        ('"llamero:engine_process_cpu_seconds_total"', '"llamero:cpu_total"', "no counter llamero:engine_process_cpu_seconds_total"),
        ("1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0", "1.0, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0", "no bucket up to 2.5"),
    ],
)
def test_a_renamed_metric_and_a_missing_bucket_are_refused(tmp_path, old, new, reason):
    assert old in (SOURCE / "table.rs").read_text() + (SOURCE / "page.rs").read_text()

    done = generate(tmp_path / "out", changed_source(tmp_path, old, new))

    assert done.returncode == 1 and reason in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('("llamero:engine_up", "1 while', '(ENGINE_UP, "1 while', "a row of the gauges is written in an unknown way"),
        ("const COUNTERS", "const COUNTS", "no table of counters"),
        ("const ENGINE_CPU", "const CPU", "no ENGINE_CPU"),
    ],
)
def test_a_source_in_an_unknown_form_is_refused(tmp_path, old, new, reason):
    done = generate(tmp_path / "out", changed_source(tmp_path, old, new))

    assert done.returncode == 1 and reason in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_changed_help_text_changes_the_description(tmp_path):
    done = generate(tmp_path / "out", changed_source(tmp_path, "1 while the engine serves.", "1 while it runs."))

    assert done.returncode == 0, done.stderr
    assert "`llamero:engine_up`: 1 while it runs." in (tmp_path / "out" / "llamero-engine.json").read_text()


def test_every_series_is_one_of_the_server_or_of_a_known_exporter():
    used = set().union(*map(series, expressions()))

    assert {"up", "llamero:engine_up", "vllm:time_to_first_token_seconds_bucket", "DCGM_FI_DEV_FB_USED"} <= used
    assert {name for name in used if not FOREIGN.fullmatch(name) and base(name) not in in_the_table()} == set()


def test_every_metric_of_the_server_is_shown_or_has_a_reason():
    shown = {base(name) for expression in expressions() for name in series(expression)}

    assert len(in_the_table()) > 50
    assert in_the_table() - shown == set(NOT_SHOWN)


def test_the_objectives_are_those_of_the_alerts():
    bounds = {
        metric: set(re.findall(rf'{metric}_bucket\{{[^}}]*le="([^"]+)"', text))
        for metric in ("vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds")
        for text in ["\n".join(expressions())]
    }
    for metric, shown in bounds.items():
        alerted = set(re.findall(rf'{metric}_bucket\{{[^}}]*le="([^"]+)"', RECORDING.read_text()))
        assert shown == alerted and len(shown) == 1, metric


def subset(ours, theirs, place):
    """Fails where a value that we wrote is not in what the models made of it."""
    if isinstance(ours, dict):
        assert isinstance(theirs, dict), place
        for name, value in ours.items():
            assert name in theirs, f"{place}.{name} is no field of Grafana's"
            subset(value, theirs[name], f"{place}.{name}")
    elif isinstance(ours, list):
        assert isinstance(theirs, list) and len(ours) == len(theirs), place
        for number, (our, their) in enumerate(zip(ours, theirs)):
            subset(our, their, f"{place}[{number}]")
    else:
        assert ours == theirs, place


def fits(value, hint):
    """True if a decoded value has a type of the models; enumerations are decoded as plain values."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (object, typing.Any):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, choice) for choice in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(key, arguments[0]) and fits(item, arguments[1]) for key, item in value.items())
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [member.value for member in hint]
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def mistyped(value, place):
    """Places below a decoded value that have another type than their model says."""
    if isinstance(value, list):
        return [found for number, item in enumerate(value) for found in mistyped(item, f"{place}[{number}]")]
    hints = typing.get_type_hints(type(value)) if type(value).__module__.startswith("grafana_foundation_sdk.models") else {}
    found = []
    for name, hint in hints.items():
        field = getattr(value, name)
        if not fits(field, hint):
            found.append(f"{place}.{name}: {field!r} is no {hint}")
        found += mistyped(field, f"{place}.{name}")
    return found


def decoded(dashboard):
    """A dashboard as the models of grafana-foundation-sdk, those for panels and queries included."""
    sdk = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="no grafana-foundation-sdk: tests/deploy/requirements.txt")
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()
    made = sdk.Dashboard.from_json(dashboard)
    for panel in made.panels:
        # The one part that the package leaves as it is.
        if panel.type_val != "row" and panel.transformations:
            panel.transformations = [sdk.DataTransformerConfig.from_json(item) for item in panel.transformations]
    return made


@each_dashboard
def test_grafanas_models_read_it_and_know_each_field_and_value(dashboard):
    from_models = decoded(dashboard)

    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    subset(dashboard, json.loads(JSONEncoder().encode(from_models)), "dashboard")
    assert mistyped(from_models, "dashboard") == []
    kinds = {type(panel.options).__module__.rsplit(".", 1)[1] for panel in from_models.panels if panel.type_val != "row"}
    assert kinds <= {"timeseries", "stat", "heatmap", "table"}
    queries = {type(target).__module__ for panel in from_models.panels if panel.type_val != "row" for target in panel.targets}
    assert queries == {"grafana_foundation_sdk.models.prometheus"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["refresh"], 30),
        (["panels", 1, "gridPos", "w"], "8"),
        (["panels", 1, "options", "colorMode"], "values"),
        (["panels", 14, "fieldConfig", "defaults", "custom", "drawStyle"], "lines"),
        (["panels", 1, "targets", 0, "format"], "graph"),
        (["panels", 1, "targets", 0, "expression"], "up"),
        (["templating", "list", 1, "type"], "values"),
    ],
)
def test_the_models_find_a_mistake(path, value):
    dashboard = json.loads(json.dumps(DASHBOARDS["llamero-overview.json"]))
    place = dashboard
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    with pytest.raises(AssertionError):
        test_grafanas_models_read_it_and_know_each_field_and_value(dashboard)


@each_dashboard
def test_panels_have_numbers_and_places_of_their_own(dashboard):
    numbers = [panel["id"] for panel in dashboard["panels"]]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(set(numbers)) == len(numbers)
    assert len(set(cells)) == len(cells), "panels overlap"
    assert {x for x, _ in cells} == set(range(24)), "the grid has 24 columns"


@each_dashboard
def test_every_panel_has_a_title_a_description_and_a_unit(dashboard):
    known = pytest.importorskip("grafana_foundation_sdk.models.units", reason="no grafana-foundation-sdk: tests/deploy/requirements.txt")
    units = {value for name, value in vars(known).items() if isinstance(value, str) and name[0].isupper()}
    titles = [panel["title"] for panel in panels(dashboard)]

    for panel in panels(dashboard):
        unit = panel["options"]["yAxis"]["unit"] if panel["type"] == "heatmap" else panel["fieldConfig"]["defaults"]["unit"]
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert unit in units | {"tok/s", "steps/s", "rows/s"}, (panel["title"], unit)
        names = {base(name) for target in panel["targets"] for name in series(target["expr"])}
        assert all(f"`{name}`: " in panel["description"] for name in names), panel["title"]
    assert len(set(titles)) == len(titles)


def of_gpus():
    return [panel for dashboard in DASHBOARDS.values() for panel in panels(dashboard) if "DCGM_" in panel["targets"][0]["expr"]]


def test_panels_of_gpus_say_that_they_need_an_exporter():
    assert len(of_gpus()) >= 5
    assert all("Comes from dcgm-exporter" in panel["description"] for panel in of_gpus())


def test_the_queries_of_gpus_have_a_value_for_each_gpu(tmp_path):
    promtool = shutil.which("promtool") or pytest.skip("no promtool here: apt-get install prometheus")
    values = {"GPU_UTIL": 55, "FB_USED": 1000, "FB_FREE": 3000, "GPU_TEMP": 60, "POWER_USAGE": 90}
    labels = ['gpu="0", instance="a:9400"', 'gpu="1", instance="a:9400"', 'gpu="0", instance="b:9400"']
    given = [{"series": f"DCGM_FI_DEV_{name}{{{one}}}", "values": f"{value}x3"} for name, value in values.items() for one in labels]
    asked = []
    for expression in {panel["targets"][0]["expr"] for panel in of_gpus()}:
        name = expression.removeprefix("DCGM_FI_DEV_")
        series_name, value = (expression, values[name]) if name in values else ("", 0.25)
        wanted = [{"labels": f"{series_name}{{{one}}}", "value": value} for one in labels]
        asked.append({"expr": expression, "eval_time": "2m", "exp_samples": wanted})
    file = tmp_path / "gpu.yml"
    file.write_text(json.dumps({"tests": [{"interval": "1m", "input_series": given, "promql_expr_test": asked}]}))

    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=60)

    assert len(asked) == 6 and done.returncode == 0, done.stdout + done.stderr


@each_dashboard
def test_queries_are_limited_to_the_chosen_servers(dashboard):
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names == ["datasource", "job", "instance", "model_name"]
    for panel in panels(dashboard):
        for target in panel["targets"]:
            selectors = re.findall(r"\{([^}]*)\}", target["expr"])
            ours = {name for name in series(target["expr"]) if not FOREIGN.fullmatch(name)}
            assert bool(selectors) or not ours, target["expr"]
            assert all('job=~"$job", instance=~"$instance"' in selector for selector in selectors), target["expr"]
            assert all("[$__rate_interval]" in window or "[$__range]" in window for window in re.findall(r"\[[^\]]*\]", target["expr"]))
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@each_dashboard
def test_heat_maps_are_of_buckets_and_quantiles_are_summed_by_bucket(dashboard):
    for panel in panels(dashboard):
        for target in panel["targets"]:
            assert (panel["type"] == "heatmap") == (target["format"] == "heatmap")
            if panel["type"] == "heatmap":
                assert re.match(r"sum by \(le\) \(rate\(\S+_bucket\{", target["expr"])
            if "histogram_quantile" in target["expr"]:
                assert re.match(r"histogram_quantile\(0\.\d+, sum by \(le\) \(rate\(\S+_bucket\{", target["expr"])


def test_the_provisioned_folders_are_those_that_compose_mounts():
    yaml = pytest.importorskip("yaml", reason="no PyYAML: tests/deploy/requirements.txt")
    compose = yaml.safe_load((ROOT / "deploy" / "docker" / "compose.yaml").read_text())
    mounts = [volume.split(":") for volume in compose["services"]["grafana"]["volumes"] if volume.startswith("../grafana")]
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "llamero.yaml").read_text())["providers"][0]
    source = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text())["datasources"][0]

    assert ["../grafana/provisioning", "/etc/grafana/provisioning", "ro"] in mounts
    assert ["../grafana/dashboards", provider["options"]["path"], "ro"] in mounts
    assert source["url"] == "http://prometheus:9090" and "prometheus" in compose["services"]
    scraped = yaml.safe_load((ROOT / "deploy" / "docker" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]


def test_addresses_and_titles_of_dashboards_are_their_own():
    assert len(DASHBOARDS) == 4
    for field in ("uid", "title"):
        assert len({dashboard[field] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)
    assert all(re.fullmatch(r"[a-z-]{8,40}", dashboard["uid"]) for dashboard in DASHBOARDS.values())

"""The JSON of Grafana dashboards: panels, rows, variables and their places on the grid. Knows no metric.

Field names and values are those of Grafana's dashboard schema; tests/deploy/test_grafana.py compares them with the
models of grafana-foundation-sdk.
"""

from dataclasses import dataclass

COLUMNS = 24
SCHEMA = 41
TAG = "llamero"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True)
class Row:
    """A title and the panels below it."""

    title: str
    panels: list


def describe(note, queries):
    """The note, then each metric with its help text."""
    metrics = dict.fromkeys(pair for _, expression in queries for pair in expression.metrics)
    return "\n\n".join([note] * bool(note) + [f"`{name}`: {text}" for name, text in metrics])


def panel(kind, title, unit, queries, width, height, note, form="time_series", instant=False):
    """The fields that all panels have. `queries` are pairs of a legend and an expression."""
    targets = [
        {
            "refId": "ABCDEFGHIJ"[number],
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": expression.text,
            "legendFormat": legend,
            "format": form,
            "instant": instant,
            "range": not instant,
        }
        for number, (legend, expression) in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": describe(note, queries),
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {},
        "targets": targets,
    }


def set_highest(unit, defaults):
    if unit == "percentunit":
        defaults["max"] = 1
    elif unit == "percent":
        defaults["max"] = 100


def thresholds(*steps, base=GREEN):
    """A colour, and others from values on."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in [(None, base), *steps]]}


def graph(title, unit, queries, width=12, height=8, note="", stacked=False):
    """Lines over time."""
    made = panel("timeseries", title, unit, queries, width, height, note)
    defaults = made["fieldConfig"]["defaults"]
    set_highest(unit, defaults)
    defaults["color"] = {"mode": "palette-classic"}
    defaults["custom"] = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 40 if stacked else 10,
        "gradientMode": "none",
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    made["options"] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def figure(title, unit, expression, width=4, height=4, note="", steps=None, at_once=False):
    """One number, with its course behind it, or at once for an expression that covers the whole range of time."""
    made = panel("stat", title, unit, [(title, expression)], width, height, note, instant=at_once)
    defaults = made["fieldConfig"]["defaults"]
    set_highest(unit, defaults)
    defaults["color"] = {"mode": "thresholds"}
    defaults["thresholds"] = steps or thresholds()
    made["options"] = {
        "colorMode": "value",
        "graphMode": "none" if at_once else "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value",
        "wideLayout": True,
        "showPercentChange": False,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return made


def heat_map(title, unit, expression, width=12, height=8, note="New values per second in each bucket."):
    """Buckets of a histogram over time, as new values per second; the unit is that of the bounds."""
    made = panel("heatmap", title, unit, [("{{le}}", expression)], width, height, note, form="heatmap")
    made["fieldConfig"]["defaults"] = {"custom": {"scaleDistribution": {"type": "linear"}}}
    made["options"] = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "cps"},
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    return made


def label_table(title, expression, columns, width=12, height=8, note=""):
    """The labels of a series as columns, in this order; `columns` are pairs of a label and its heading."""
    made = panel("table", title, "none", [("", expression)], width, height, note, form="table", instant=True)
    made["options"] = {"showHeader": True, "cellHeight": "sm"}
    made["transformations"] = [
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True, "Value": True},
                "indexByName": {label: place for place, (label, _) in enumerate(columns)},
                "renameByName": dict(columns),
            },
        }
    ]
    return made


def placed(rows):
    """Rows and panels with numbers and places: from left to right, in lines as high as their highest panel."""
    found, y = [], 0

    def add(made, **place):
        found.append(made | {"id": len(found) + 1, "gridPos": place})

    for row in rows:
        add({"type": "row", "title": row.title, "collapsed": False, "panels": []}, x=0, y=y, w=COLUMNS, h=1)
        x, y, height = 0, y + 1, 0
        for made in row.panels:
            w, h = made["gridPos"]["w"], made["gridPos"]["h"]
            if x + w > COLUMNS:
                x, y, height = 0, y + height, 0
            add(made, x=x, y=y, w=w, h=h)
            x, height = x + w, max(height, h)
        y += height
    return found


def query_variable(name, label, query):
    """Values of a label, of which several or all can be chosen; the list is read anew when the range of time changes."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "current": {"text": ["All"], "value": ["$__all"]},
        "includeAll": True,
        "multi": True,
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 1,
    }


def variables(present):
    """The choice of a Prometheus, and of servers among those that have the series `present`."""
    source = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"}
    source |= {"hide": 0, "includeAll": False, "multi": False, "options": [], "refresh": 1, "regex": ""}
    return [
        source,
        query_variable("job", "Job", f"label_values({present}, job)"),
        query_variable("instance", "Instance", f'label_values({present}{{job=~"$job"}}, instance)'),
        query_variable("model_name", "Model", f'label_values({present}{{job=~"$job", instance=~"$instance"}}, model_name)'),
    ]


def dashboard(name, title, description, rows, present):
    """A whole dashboard, with links to the others."""
    link = {"type": "dashboards", "title": "llamero", "tags": [TAG], "url": "", "icon": "external link", "tooltip": ""}
    link |= {"asDropdown": False, "includeVars": True, "keepTime": True, "targetBlank": False}
    return {
        "uid": f"llamero-{name}",
        "title": title,
        "description": description,
        "tags": [TAG],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables(present)},
        "annotations": {"list": []},
        "links": [link],
        "panels": placed(rows),
    }

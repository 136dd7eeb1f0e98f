"""The server's metrics, read from its source, and PromQL made of them. A name that the server has not is refused.

Each expression remembers its metrics, so that a panel can describe them in the server's own words. Time series are
limited to the servers that the dashboard's variables select.
"""

import re
from dataclasses import dataclass

OVER = "$__rate_interval"
SERVERS = 'job=~"$job", instance=~"$instance"'
MODELS = f'{SERVERS}, model_name=~"$model_name"'

# Series of other programs: Prometheus itself, and dcgm-exporter.
FOREIGN = {
    "up": "1 while Prometheus can read a server's metrics.",
    "DCGM_FI_DEV_GPU_UTIL": "Time in which the GPU computed, %.",
    "DCGM_FI_DEV_FB_USED": "Used memory of the GPU, MiB.",
    "DCGM_FI_DEV_FB_FREE": "Free memory of the GPU, MiB.",
    "DCGM_FI_DEV_GPU_TEMP": "Temperature of the GPU, °C.",
    "DCGM_FI_DEV_POWER_USAGE": "Power that the GPU draws, W.",
}


class UnknownMetric(LookupError):
    """A name that is not in the table, or that is there with another kind or other buckets."""


@dataclass(frozen=True)
class Metric:
    """Kind is histogram, counter or gauge; only histograms have bounds."""

    name: str
    kind: str
    help: str
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Expression:
    """PromQL, and (name, help) of each metric in it."""

    text: str
    metrics: tuple[tuple[str, str], ...]

    def folded(self, how, *labels):
        """An aggregation such as sum, over everything or by labels."""
        by = f" by ({', '.join(labels)}) " if labels else ""
        return Expression(f"{how}{by}({self.text})", self.metrics)

    def total(self, *labels):
        return self.folded("sum", *labels)

    def wrapped(self, pattern):
        """The text within a pattern such as `round({})`."""
        return Expression(pattern.replace("{}", self.text), self.metrics)

    def plus(self, other):
        return Expression(f"({self.text} + {other.text})", self.metrics + other.metrics)

    def over(self, whole):
        """The share of a whole; no value while the whole is 0."""
        return Expression(f"{self.text} / ({whole.text} > 0)", whole.metrics + self.metrics)


def foreign(name, selector=""):
    """A series of another program."""
    return Expression(name + selector, ((name, FOREIGN[name]),))


class Metrics:
    """The server's metrics by name."""

    def __init__(self, metrics):
        self.by_name = {metric.name: metric for metric in metrics}

    def find(self, name, kind):
        metric = self.by_name.get(name)
        if metric is None or metric.kind != kind:
            raise UnknownMetric(f"no {kind} {name} in src/telemetry/metrics")
        return metric

    def made(self, name, kind, pattern, labels="", suffix=""):
        metric = self.find(name, kind)
        series = f"{name}{suffix}{{{MODELS}{labels and ', '}{labels}}}"
        return Expression(pattern.replace("{}", series), ((name, metric.help),))

    def value(self, name, labels=""):
        return self.made(name, "gauge", "{}", labels)

    def count(self, name):
        """A counter since the server's start, for what is only counted then."""
        return self.made(name, "counter", "{}")

    def rate(self, name, labels="", over=OVER):
        return self.made(name, "counter", f"rate({{}}[{over}])", labels)

    def increase(self, name, labels="", over=OVER):
        return self.made(name, "counter", f"increase({{}}[{over}])", labels)

    def buckets(self, name):
        """For a heat map: new values per second in each bucket."""
        return self.made(name, "histogram", f"sum by (le) (rate({{}}[{OVER}]))", suffix="_bucket")

    def quantile(self, which, name):
        pattern = f"histogram_quantile({which}, sum by (le) (rate({{}}[{OVER}])))"
        return self.made(name, "histogram", pattern, suffix="_bucket")

    def mean(self, name, *labels):
        total, count = (self.made(name, "histogram", f"rate({{}}[{OVER}])", suffix=end).total(*labels) for end in ("_sum", "_count"))
        return total.over(count)

    def share_within(self, name, bound):
        """The share of values up to a bound, which must be one of the buckets."""
        if bound not in self.find(name, "histogram").bounds:
            raise UnknownMetric(f"{name} has no bucket up to {bound}")
        within = self.made(name, "histogram", f"rate({{}}[{OVER}])", f'le="{bound}"', "_bucket")
        return within.total().over(self.made(name, "histogram", f"rate({{}}[{OVER}])", suffix="_count").total())


def read(table, page):
    """The metrics in the text of src/telemetry/metrics/table.rs, and the one that page.rs adds."""
    names = dict(re.findall(r'const (\w+): &str =\s*"([^"]+)"', table))
    buckets = dict(re.findall(r"const (\w+_BUCKETS): &\[f64\] =\s*&\[([^\]]*)\]", table))
    found = []
    for kind in ("histogram", "counter", "gauge"):
        block = re.search(rf"const {kind.upper()}S: .*?= &\[\n(.*?)\n\];", table, re.DOTALL)
        if block is None:
            raise ValueError(f"no table of {kind}s: was src/telemetry/metrics/table.rs rewritten?")
        rows = re.findall(r'^ +\(\s*(?:name::(\w+)|"([^"]+)"),\s*(?:(\w+_BUCKETS),\s*)?"([^"\\]*)",?\s*\),$', block[1], re.MULTILINE)
        if len(rows) != len(re.findall(r"^    \(", block[1], re.MULTILINE)):
            raise ValueError(f"a row of the {kind}s is written in an unknown way")
        for constant, literal, bounds, description in rows:
            values = buckets[bounds].replace("_", "").split(",") if bounds else []
            found.append(Metric(names[constant] if constant else literal, kind, description, tuple(float(value) for value in values)))
    added = re.search(r'const ENGINE_CPU: &str = "([^"]+)".*?let help = "([^"]+)"', page, re.DOTALL)
    if added is None:
        raise ValueError("no ENGINE_CPU and its help: was src/telemetry/metrics/page.rs rewritten?")
    found.append(Metric(added[1], "counter", added[2]))
    return Metrics(found)

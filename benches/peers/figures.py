"""Figures, what they should be, and the table of both."""

import statistics
from dataclasses import dataclass

OURS, PEER, RAW = "llamero", "llama-server", "raw engine"


@dataclass(frozen=True)
class Aim:
    """The bound that a figure should keep: of the ratio to the peer, of ours alone, or of the ratio to the raw engine."""

    of: str
    at_least: float = float("-inf")
    at_most: float = float("inf")

    def met(self, value):
        return self.at_least <= value <= self.at_most

    def __str__(self):
        bound = f"≥ {self.at_least:g}" if self.at_least > float("-inf") else f"≤ {self.at_most:g}"
        return f"{self.of} {bound}".strip()


def ratio(**bound):
    return Aim("R", **bound)


def ours(**bound):
    return Aim("", **bound)


def of_raw(**bound):
    return Aim("of raw", **bound)


# In the order of the table; figures that are not here are printed without an aim.
AIMS = {
    "w1 C=1, tokens/s": [ratio(at_least=1.0), of_raw(at_least=0.95)],
    "w1 C=4, tokens/s": [ratio(at_least=1.05), of_raw(at_least=0.95)],
    "w1 C=16, tokens/s": [ratio(at_least=1.05), of_raw(at_least=0.95)],
    "w1 at 0.8, C=1, tokens/s": [ratio(at_least=1.0), of_raw(at_least=0.95)],
    "w1 at 0.8, C=4, tokens/s": [ratio(at_least=1.05), of_raw(at_least=0.95)],
    "w1 at 0.8, C=16, tokens/s": [ratio(at_least=1.05), of_raw(at_least=0.95)],
    "w1 at 0.8, C=4, TTFT p50, ms": [ratio(at_most=1.0)],
    "w2 C=8, tokens/s": [ratio(at_least=3)],
    "w2 TTFT p99, ms": [ratio(at_most=0.25)],
    "w2 prompt tokens computed / distinct": [ours(at_most=1.15)],
    "w3 streams, ITL p99, ms": [ratio(at_most=0.10)],
    "w3 long prompts, TTFT p50, ms": [ratio(at_most=1.3)],
    "open loop at 80%, TTFT p99, ms": [ratio(at_most=0.5)],
    "open loop at 80%, ITL p99, ms": [ratio(at_most=0.25)],
    "w4 C=1, tokens/s": [ratio(at_least=1.5)],
    "w4 valid outputs, share": [ours(at_least=1)],
    "w5 C=1, tokens/s": [ratio(at_least=0.95)],
    "w5 C=8, tokens/s": [ratio(at_least=2)],
    "w5 C=32, tokens/s": [ratio(at_least=2)],
    "1,000 idle connections, MB more": [ours(at_most=30)],
    "1,000 idle connections, streams beside / alone": [ours(at_least=0.95)],
    "1,000 queued requests, MB more": [ours(at_most=30)],
    "1,000 queued requests, streams beside / alone": [ours(at_least=0.95)],
    "cancel while decoding, steps": [ours(at_most=2)],
    "cancel in the prompt, steps": [ours(at_most=2)],
    "start to first token, s": [ratio(at_most=1.1)],
    "memory, MB": [ratio(at_most=1.1)],
    "busy neighbour, w1 C=4, tokens/s": [ratio(at_least=1.2)],
}


def median_ratio(ours, others):
    """Of the ratio of each round: neighbours in time are comparable, far ones are not."""
    return statistics.median(a / b for a, b in zip(ours, others))


def best_peer(name, values):
    """The peer's setting with the better median."""
    peers = [setting for setting in values if setting.startswith(PEER)]
    falls = name.endswith(", ms") or any(aim.of == "R" and aim.at_least == float("-inf") for aim in AIMS.get(name, []))
    order = min if falls else max
    return order(peers, key=lambda setting: statistics.median(values[setting])) if peers else None


def rows(table):
    """Cells of each row: figure, ours, peer, R, raw, aims, whether they are met."""
    for name, values in sorted(table.items(), key=lambda item: list(AIMS).index(item[0]) if item[0] in AIMS else len(AIMS)):
        mine, peer = values.get(OURS), best_peer(name, values)
        if not mine:
            continue
        reached = {"": statistics.median(mine)}
        if peer:
            reached["R"] = median_ratio(mine, values[peer])
        if RAW in values:
            reached["of raw"] = median_ratio(mine, values[RAW])
        aims = AIMS.get(name, [])
        verdicts = ["met" if aim.met(reached[aim.of]) else "MISSED" for aim in aims if aim.of in reached]
        setting = (peer or "").removeprefix(PEER).strip()
        yield [name, number(reached[""]), number(statistics.median(values[peer])) + (f" ({setting})" if setting else "") if peer else "",
               number(reached.get("R")), number(reached.get("of raw")), ", ".join(map(str, aims)), ", ".join(verdicts)]


def number(value):
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


HEAD = ["median of rounds", OURS, PEER, "R", "of raw", "to reach", ""]


def as_text(table):
    cells = [HEAD, *rows(table)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    align = [str.ljust] + [str.rjust] * 4 + [str.ljust] * 2
    return "\n".join("  ".join(way(cell, width) for way, cell, width in zip(align, row, widths)).rstrip() for row in cells)


def as_markdown(table):
    lines = [HEAD, ["---"] * len(HEAD), *rows(table)]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)

"""Load by `llamero bench`: one run, its result and its requests."""

import json
import subprocess
import tempfile
from pathlib import Path


def run(args, server, workload, concurrency, requests, seed, **options):
    """The JSON result of a run, with a list of its requests as "records". Options are those of `llamero bench`."""
    with tempfile.TemporaryDirectory() as folder:
        report, records = Path(folder) / "report.json", Path(folder) / "records.jsonl"
        options = {"url": f"http://127.0.0.1:{server.port}", "model": "bench", "workload": workload, "concurrency": concurrency,
                   "requests": requests, "seed": seed, "json": report, "records": records, **options}
        words = [word for name, value in options.items() if value is not None for word in (f"--{name.replace('_', '-')}", str(value))]
        done = subprocess.run([args.llamero, "bench", *words], capture_output=True, text=True)
        server.check()
        if done.returncode:
            raise SystemExit(f"{server.name}, {workload}: {done.stderr.strip()}")
        result = json.loads(report.read_text())
        result["records"] = [json.loads(line) for line in records.read_text().splitlines()]
    for group in result["groups"].values():
        if group["failed"]:
            raise SystemExit(f"{server.name}, {workload}: {group['failed']} requests failed: {group['errors']}")
    return result


def rate(args, server, workload, concurrency, requests, seed, **options):
    """Output tokens per second over a whole run."""
    result = run(args, server, workload, concurrency, requests, seed, **options)
    return result["groups"]["requests"]["output_tokens_per_second"]

"""Reduces an answer to the parts that are the same in every run of one build."""

import re

# Patterns and their replacements, made in this order.
VOLATILE = [
    (r"\b(cmpl|chatcmpl|resp|msg|call|toolu|fc|rs|req|infill|item)[-_][0-9A-Za-z]{8,}", r"\1-ID"),
    (r"\b[0-9a-f]{24,64}\b", "HEX"),
    (r'"(created|created_at|completed_at|loaded_at)": ?[0-9.]+', r'"\1":TIME'),
    (r'"(\w*(?:_ms|_seconds|_per_second|_s))": ?[0-9.e+-]+', r'"\1":TIME'),
    # Drawn by the server where the request has none.
    (r'"seed": ?[0-9]{7,}', '"seed":DRAWN'),
]
# Headers that say something of the answer; the others are the same for all, or dates and ids.
HEADERS = [
    "content-type",
    "retry-after",
    "x-should-retry",
    "x-llamero-warnings",
    "allow",
    "www-authenticate",
    "cache-control",
    "x-accel-buffering",
    "connection",
]


def normal(status, headers, body):
    """An answer as three values that can be compared."""
    text = body.decode(errors="backslashreplace")
    for pattern, word in VOLATILE:
        text = re.sub(pattern, word, text)
    return {"status": status, "headers": {name: headers[name] for name in HEADERS if name in headers}, "body": text}

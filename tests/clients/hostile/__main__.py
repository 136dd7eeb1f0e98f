"""Attacks a server: `python -m hostile PORT KEY`. Prints a line of JSON for each attack, before it begins and after its end.

A process of its own, with the lowest priority, so that the load that it is itself does not slow the clients that are measured.
"""

import json
import os
import sys
import time

from .attacks import attacks


def main():
    os.nice(19)
    port, key = int(sys.argv[1]), sys.argv[2]
    only = sys.argv[3:]
    for name, attack in attacks().items():
        if only and not any(name.startswith(prefix) for prefix in only):
            continue
        begun = time.monotonic()
        print(json.dumps({"begins": name}), flush=True)
        problems = attack(port, key)
        print(json.dumps({"ended": name, "problems": problems, "seconds": round(time.monotonic() - begun, 2)}), flush=True)


main()

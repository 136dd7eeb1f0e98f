"""Hooks of schemathesis for test_openapi.py: requests that would be refused for their model's name, or generate for
minutes, are made to reach the model and to end soon. Which operations there are is the document's affair, not ours."""

import json
import os
import random

import schemathesis

MODEL = os.environ["LLAMERO_MODEL"]
# Fields by which some API limits the length of an answer; set where an operation has them and the case is without, or above.
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict")
MOST = 4

# Optional fields in a valid random case. With dozens, as schemathesis would have it, some always contradict each other.
FEW = 3


def schema_of(operation):
    """The schema of an operation's body."""
    return next((body.definition.get("schema", {}) for body in operation.body), {})


def thin(body, required):
    """Leaves a few optional fields, always the same ones of the same body."""
    optional = sorted(set(body) - set(required))
    kept = random.Random(json.dumps(body, sort_keys=True)).sample(optional, min(FEW, len(optional)))
    for name in set(optional) - set(kept):
        del body[name]


@schemathesis.hook
def before_call(context, case, kwargs):
    """Changes only what is of the right type already: cases that are wrong on purpose stay wrong."""
    body = case.body
    if not isinstance(body, dict):
        return
    schema = schema_of(case.operation)
    known = set(schema.get("properties", {}))
    if case.meta and case.meta.phase.name == "fuzzing" and case.meta.generation.mode.is_positive:
        thin(body, schema.get("required", []))
    if isinstance(body.get("model"), str):
        body["model"] = MODEL
    for name in known.intersection(LIMITS):
        value = body.get(name)
        if value is None or (type(value) is int and value > MOST):
            body[name] = MOST

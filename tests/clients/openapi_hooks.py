"""Hooks of schemathesis for test_openapi.py: requests that would be refused for their model's name, or generate for
minutes, are made to reach the model and to end soon. Which operations there are is the document's affair, not ours."""

import os

import schemathesis

MODEL = os.environ["LLAMERO_MODEL"]
# Fields by which some API limits the length of an answer; set where an operation has them and the case is without, or above.
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict")
MOST = 4


def fields_of(operation):
    """The names of an operation's body fields."""
    for body in operation.body:
        schema = body.definition.get("schema", {})
        yield from schema.get("properties", {})


@schemathesis.hook
def before_call(context, case, kwargs):
    """Changes only what is of the right type already: cases that are wrong on purpose stay wrong."""
    body = case.body
    if not isinstance(body, dict):
        return
    known = set(fields_of(case.operation))
    if isinstance(body.get("model"), str):
        body["model"] = MODEL
    for name in known.intersection(LIMITS):
        value = body.get(name)
        if value is None or (type(value) is int and value > MOST):
            body[name] = MOST

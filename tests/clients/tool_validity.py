"""Counts the tool calls of a model that obey their tool's schema: 30 prompts, each with `tool_choice` required and auto.

    .venv/bin/python tool_validity.py [--base-url http://127.0.0.1:8000/v1] [--model NAME]

Without an address it starts the default model. Prints a line for each choice: answers with a call, calls, how many of these have
arguments that the tool's schema accepts, and how many answers `max_tokens` cut off: a small model may repeat a string without end.
"""

import argparse
import contextlib
import json
import tempfile
from pathlib import Path

import jsonschema
import openai
import support

TEXT, NUMBER = {"type": "string"}, {"type": "number"}


def function(name, description, required, **properties):
    """A tool whose other properties are optional."""
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = [
    function("get_weather", "Tells the present weather of a city", ["city"], city=TEXT, unit={"enum": ["celsius", "fahrenheit"]}),
    function("get_time", "Tells the time in a city", ["city"], city=TEXT),
    function("add", "Adds two numbers", ["a", "b"], a=NUMBER, b=NUMBER),
    function("send_mail", "Sends a mail", ["to", "subject"], to=TEXT, subject=TEXT, body=TEXT),
    function("set_alarm", "Sets an alarm", ["hour", "minute"], hour={"type": "integer"}, minute={"type": "integer"}, days={"type": "array", "items": TEXT, "maxItems": 7}),
]

PROMPTS = [
    "What is the weather in Paris?",
    "Is it raining in Oslo right now?",
    "How warm is it in Cairo, in celsius?",
    "Tell me the temperature in Boston in fahrenheit.",
    "Do I need an umbrella in London today?",
    "Is it snowing in Helsinki?",
    "What time is it in Tokyo?",
    "Tell me the time in New York.",
    "Is it already evening in Sydney?",
    "How late is it in Berlin?",
    "What is the local time in Lima?",
    "Is it past midnight in Moscow?",
    "Add 3 and 4.",
    "What is 17 plus 25?",
    "Please sum 1.5 and 2.25.",
    "How much is 1000 plus 1?",
    "Compute -4 + 9.",
    "I have 12 apples and get 7 more. How many are there?",
    "Send a mail to anna@example.com with the subject Lunch.",
    "Write bob@example.com that the meeting is moved, subject Meeting.",
    "Mail the team (team@example.com): subject Release, text It is out.",
    "Ask carl@example.com by mail for the report.",
    "Send dora@example.com a birthday greeting.",
    "Mail eve@example.com the subject Invoice.",
    "Wake me at 6:30.",
    "Set an alarm for 7:15 on Monday and Tuesday.",
    "I have to get up at 5 o'clock.",
    "Alarm at 22:45, please.",
    "Set an alarm for noon.",
    "Wake me at 8:05 every Friday.",
]


def is_valid(call):
    """True if the arguments are JSON that the tool's schema accepts."""
    schema = next(tool["function"]["parameters"] for tool in TOOLS if tool["function"]["name"] == call.function.name)
    try:
        jsonschema.validate(json.loads(call.function.arguments), schema)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def measure(client, model, choice):
    """Answers with a call, calls, valid calls, and answers that were cut off, of all prompts under this `tool_choice`."""
    answers = calls = valid = cut = 0
    for prompt in PROMPTS:
        messages = [{"role": "user", "content": prompt}]
        answer = client.chat.completions.create(
            model=model, messages=messages, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, temperature=0, max_tokens=200
        )
        cut += answer.choices[0].finish_reason == "length"
        made = answer.choices[0].message.tool_calls or []
        answers += bool(made)
        calls += len(made)
        valid += sum(map(is_valid, made))
    return answers, calls, valid, cut


@contextlib.contextmanager
def started():
    """A server with the default model, stopped at the end."""
    with tempfile.TemporaryDirectory() as folder, support.serving(Path(folder) / "log") as server:
        yield server


def main():
    """Prints the figures of one server."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base-url")
    parser.add_argument("--model", default=support.MODEL)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = options.base_url or stack.enter_context(started()).base_url
        client = openai.OpenAI(base_url=url, api_key="none", timeout=120)
        for choice in ("required", "auto"):
            answers, calls, valid, cut = measure(client, options.model, choice)
            print(f"{choice}: {answers} of {len(PROMPTS)} answers have a call; {valid} of {calls} calls obey the schema; {cut} answers are cut off")


if __name__ == "__main__":
    main()

"""Outlines' clients for vLLM, SGLang and OpenAI: a choice, a pattern, a schema and a grammar."""

import json
import re
from typing import Literal

import openai
import outlines
from outlines.types import CFG, Regex
from shapes import BASE_URL, MODEL, Verdict

client = openai.OpenAI(base_url=BASE_URL, api_key="EMPTY", max_retries=0)
GRAMMAR = {"vllm": 'start: "yes" | "no"', "sglang": 'root ::= "yes" | "no"'}

for name, connect in (("vllm", outlines.from_vllm), ("sglang", outlines.from_sglang)):
    model = connect(client, MODEL)
    assert model("Is a tomato a fruit?", Literal["yes", "no"], max_tokens=20) in ("yes", "no")
    year = model("When was it?", Regex(r"\d{4}-\d{2}"), max_tokens=20)
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}", year), (name, year)
    Verdict(**json.loads(model("How is the weather?", Verdict, max_tokens=60)))
    answer = model("Is a tomato a fruit?", CFG(GRAMMAR[name]), max_tokens=20)
    assert answer in ("yes", "no"), (name, answer)
    assert "".join(model.stream("Is a tomato a fruit?", Literal["yes", "no"], max_tokens=20)) in ("yes", "no")
Verdict(**json.loads(outlines.from_openai(client, MODEL)("How is the weather?", Verdict, max_tokens=60)))
print("done")

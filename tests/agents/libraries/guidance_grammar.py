"""guidance's client for vLLM, which sends the same grammar under the names of old and of new servers."""

from guidance import assistant, gen, select, user
from guidance.models.experimental import VLLMModel
from shapes import BASE_URL, MODEL

model = VLLMModel(MODEL, base_url=BASE_URL, api_key="EMPTY", echo=False)
with user():
    model += "Is a tomato a fruit? Name the year, too."
with assistant():
    model += select(["yes", "no"], name="answer") + " " + gen(name="year", regex=r"\d{4}")
assert model["answer"] in ("yes", "no"), model
assert model["year"].isascii() and model["year"].isdigit() and len(model["year"]) == 4, model["year"]
print("done")

"""The question, the tool and the result type that all scripts share. Each script prints "done" at its end."""

import os
from typing import Literal

import pydantic

BASE_URL, MODEL = os.environ["BASE_URL"], os.environ["MODEL"]
QUESTION = "How is the weather in Paris?"


class Verdict(pydantic.BaseModel):
    """How somebody likes the weather."""

    model_config = pydantic.ConfigDict(extra="forbid")

    mood: Literal["good", "bad"]
    certain: bool


def get_weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather in a city.

    Args:
        city: One of the cities that are known.
    """
    called.append(city)
    return f"Sunny in {city}."


called = []

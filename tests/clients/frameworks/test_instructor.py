"""instructor: objects of pydantic models by tool calls and by JSON Schema, whole and as they grow."""

from typing import Literal

import instructor
import openai
import pydantic
import pytest
from support import MODEL


class Person(pydantic.BaseModel):
    """Somebody whom a text mentions. What a schema does not forbid, a small model adds without end."""

    model_config = pydantic.ConfigDict(extra="forbid")

    name: Literal["Ann", "Bob", "Cleo"]
    age: int = pydantic.Field(ge=0, le=120)


MESSAGES = [{"role": "user", "content": "Extract: Bob is 36 years old."}]
FIELDS = {"model": MODEL, "messages": MESSAGES, "max_tokens": 128, "temperature": 0}
MODES = pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA], ids=lambda mode: mode.name)


@pytest.fixture
def extractor(server):
    client = openai.OpenAI(base_url=server.base_url, api_key="EMPTY", max_retries=0)
    return lambda mode: instructor.from_openai(client, mode=mode)


@MODES
def test_a_person_is_extracted_at_the_first_attempt(extractor, mode):
    person, completion = extractor(mode).chat.completions.create_with_completion(response_model=Person, max_retries=0, **FIELDS)

    assert isinstance(person, Person)
    assert completion.usage.completion_tokens > 0


@MODES
def test_a_person_grows_in_a_stream(extractor, mode):
    *_, last = extractor(mode).chat.completions.create_partial(response_model=Person, max_retries=0, **FIELDS)

    assert Person.model_validate(last.model_dump())


@MODES
def test_an_answer_that_is_not_accepted_is_asked_for_again(extractor, mode):
    asked = []

    class Picky(Person):
        @pydantic.model_validator(mode="after")
        def second_is_right(self):
            asked.append(self.name)
            if len(asked) == 1:
                raise ValueError("think again")
            return self

    person = extractor(mode).chat.completions.create(response_model=Picky, max_retries=2, **FIELDS)

    assert isinstance(person, Picky)
    assert len(asked) == 2

"""A streamed completion with the official client, printed as it comes, with the usage at its end."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "EMPTY"),
)

stream = client.completions.create(
    model="smollm2-135m-instruct",
    prompt="The capital of France is",
    max_tokens=64,
    temperature=0,
    stream=True,
    stream_options={"include_usage": True},
)

for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].text, end="", flush=True)
    if chunk.usage:  # Only the last chunk, which has no choices.
        print(f"\n({chunk.usage.prompt_tokens} prompt tokens, {chunk.usage.completion_tokens} completion tokens)")

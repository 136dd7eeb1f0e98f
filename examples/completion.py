"""A completion with the official client: pip install openai, then scripts/serve and this."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "EMPTY"),  # The SDK wants some key; the server reads it only if it has keys.
)

completion = client.completions.create(
    model="smollm2-135m-instruct",
    prompt="The capital of France is",
    max_tokens=32,
    temperature=0,
    stop=["\n\n"],
)

print(completion.choices[0].text.strip())
print(f"({completion.usage.completion_tokens} tokens, ended by {completion.choices[0].finish_reason})")

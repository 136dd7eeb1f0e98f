"""A conversation with the official client, streamed: each line that is typed is a message; an empty one ends it."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "EMPTY"),
)

messages = []
while True:
    try:
        line = input("> ").strip()
    except EOFError:
        break
    if not line:
        break
    messages.append({"role": "user", "content": line})
    answer = ""
    for chunk in client.chat.completions.create(model="smollm2-135m-instruct", messages=messages, max_tokens=128, temperature=0, stream=True):
        text = chunk.choices[0].delta.content or ""
        print(text, end="", flush=True)
        answer += text
    print()
    messages.append({"role": "assistant", "content": answer})

"""llama-index: an agent with a tool, a stream, and a typed result."""

import asyncio
import sys
from pathlib import Path

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

sys.path.append(str(Path(__file__).parents[1] / "libraries"))

from shapes import BASE_URL, MODEL, QUESTION, Verdict, called, get_weather  # noqa: E402

llm = OpenAILike(
    model=MODEL,
    api_base=BASE_URL,
    api_key="EMPTY",
    is_chat_model=True,
    is_function_calling_model=True,
    should_use_structured_outputs=True,
    context_window=8192,
    max_tokens=200,
    max_retries=0,
)

assert llm.complete("The capital of France is").text
assert llm.chat([ChatMessage(role="user", content=QUESTION)]).message.content
assert list(llm.stream_chat([ChatMessage(role="user", content=QUESTION)]))
assert isinstance(llm.as_structured_llm(Verdict).complete(QUESTION).raw, Verdict)


async def main():
    agent = FunctionAgent(tools=[get_weather], llm=llm, system_prompt="Answer briefly.")
    answer = await agent.run(QUESTION, max_iterations=4)
    assert answer.response.content, answer


asyncio.run(main())
assert called, "a tool was called"
print("done")

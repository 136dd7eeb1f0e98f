"""pydantic-ai: a tool beside a result by a tool, by the server's own structured output, and in a stream."""

import asyncio

from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from shapes import BASE_URL, MODEL, QUESTION, Verdict, called, get_weather


async def main():
    provider = OpenAIProvider(base_url=BASE_URL, api_key="EMPTY")
    for kind in (OpenAIChatModel, OpenAIResponsesModel):
        for output in (str, Verdict, NativeOutput(Verdict)):
            agent = Agent(kind(MODEL, provider=provider), output_type=output, tools=[get_weather], model_settings={"max_tokens": 200})
            answer = await agent.run(QUESTION)
            assert isinstance(answer.output, str if output is str else Verdict), answer
        assert called, f"no call of a tool with {kind.__name__}"
        called.clear()
        agent = Agent(kind(MODEL, provider=provider), tools=[get_weather], model_settings={"max_tokens": 200})
        async with agent.run_stream(QUESTION) as stream:
            assert await stream.get_output()
    print("done")


asyncio.run(main())

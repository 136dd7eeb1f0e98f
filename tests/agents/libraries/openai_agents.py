"""OpenAI's Agents SDK, over chat completions and over responses: a tool and a typed result in the same request, and a stream."""

import asyncio

import agents
from openai import AsyncOpenAI
from shapes import BASE_URL, MODEL, QUESTION, Verdict, called, get_weather

agents.set_tracing_disabled(True)


async def main():
    client = AsyncOpenAI(base_url=BASE_URL, api_key="EMPTY", max_retries=0)
    for kind in (agents.OpenAIChatCompletionsModel, agents.OpenAIResponsesModel):
        model, tools = kind(MODEL, client), [agents.function_tool(get_weather)]
        settings = agents.ModelSettings(max_tokens=200)
        plain = agents.Agent(name="Guide", instructions="Answer briefly.", model=model, tools=tools, model_settings=settings)
        answer = await agents.Runner.run(plain, QUESTION, max_turns=4)
        assert isinstance(answer.final_output, str), answer
        assert called, f"no call of a tool with {kind.__name__}"
        called.clear()
        streamed = agents.Runner.run_streamed(plain, QUESTION, max_turns=4)
        events = [event async for event in streamed.stream_events()]
        assert events and isinstance(streamed.final_output, str), events

        typed = plain.clone(output_type=Verdict)
        answer = await agents.Runner.run(typed, QUESTION, max_turns=4)
        assert isinstance(answer.final_output, Verdict), answer
    print("done")


asyncio.run(main())

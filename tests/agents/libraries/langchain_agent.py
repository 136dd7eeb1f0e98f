"""LangChain's agents: a tool, beside a typed result by the server's structured output and by a tool, and a stream."""

from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_openai import ChatOpenAI
from shapes import BASE_URL, MODEL, QUESTION, Verdict, called, get_weather

ASKED = {"messages": [{"role": "user", "content": QUESTION}]}
# Ends a run in which the model never stops calling.
LIMIT = {"recursion_limit": 40}

for responses in (False, True):
    model = ChatOpenAI(model=MODEL, base_url=BASE_URL, api_key="EMPTY", max_tokens=200, max_retries=0, use_responses_api=responses)
    plain = create_agent(model, tools=[get_weather], system_prompt="Answer briefly.")
    assert plain.invoke(ASKED, LIMIT)["messages"][-1].content
    assert called, f"no call of a tool (responses: {responses})"
    called.clear()
    assert list(plain.stream(ASKED, LIMIT, stream_mode="messages"))
    for strategy in (ProviderStrategy(Verdict), ToolStrategy(Verdict)):
        answer = create_agent(model, tools=[get_weather], response_format=strategy).invoke(ASKED, LIMIT)
        assert isinstance(answer["structured_response"], Verdict), answer
print("done")

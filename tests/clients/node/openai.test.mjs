// The official `openai` package: completions, chat, streams, tools, parsed objects, typed errors.

import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { baseURL, embedder, model, question } from "./support.mjs";

const client = new OpenAI({ baseURL, apiKey: "EMPTY", maxRetries: 0 });
const messages = [{ role: "user", content: question }];
const greedy = { model, max_tokens: 32, temperature: 0 };
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: { city: { enum: ["Paris", "Rome"] }, unit: { enum: ["C", "F"] } },
      required: ["city", "unit"],
      additionalProperties: false,
    },
  },
};

test("models are listed and looked up", async () => {
  const ids = [];
  for await (const entry of client.models.list()) ids.push(entry.id);

  assert.ok(ids.includes(model));
  assert.equal((await client.models.retrieve(model)).id, model);
});

test("a completion goes on with the text and a stream says the same", async () => {
  const fields = { ...greedy, prompt: "The capital of France is", max_tokens: 16 };
  const whole = await client.completions.create(fields);
  const stream = await client.completions.create({ ...fields, stream: true, stream_options: { include_usage: true } });

  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.text ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.match(whole.choices[0].text, /Paris/);
  assert.match(text, /Paris/);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("a question is answered, whole and by the stream helper", async () => {
  const whole = await client.chat.completions.create({ ...greedy, messages });
  const helper = client.chat.completions.stream({ ...greedy, messages });

  assert.match(whole.choices[0].message.content, /Paris/);
  assert.match(await helper.finalContent(), /Paris/);
});

test("a stream that is aborted ends, and the server stays", async () => {
  const stream = await client.chat.completions.create({ ...greedy, messages, max_tokens: 1000, stream: true });
  let chunks = 0;
  for await (const _ of stream) {
    chunks += 1;
    if (chunks === 3) break;
  }

  assert.ok(stream.controller.signal.aborted);
  assert.ok((await client.completions.create({ ...greedy, prompt: "Hello", max_tokens: 1 })).id);
});

test("a tool is called, whole and streamed", async () => {
  const fields = { ...greedy, messages, max_tokens: 128, tools: [weather], tool_choice: "required", parallel_tool_calls: false };
  const whole = (await client.chat.completions.create(fields)).choices[0];
  const streamed = (await client.chat.completions.stream(fields).finalChatCompletion()).choices[0];

  for (const { finish_reason, message } of [whole, streamed]) {
    assert.equal(finish_reason, "tool_calls");
    assert.equal(message.tool_calls[0].function.name, "get_weather");
    assert.ok(["C", "F"].includes(JSON.parse(message.tool_calls[0].function.arguments).unit));
  }
});

test("runTools calls the function and sends its result back", async () => {
  let called = 0;
  const tool = { ...weather.function, parse: JSON.parse, function: () => ((called += 1), "sunny") };
  const runner = client.chat.completions.runTools(
    { ...greedy, messages, max_tokens: 128, tool_choice: weather, tools: [{ type: "function", function: tool }] },
    { maxChatCompletions: 1 },
  );

  await runner.done();
  assert.equal(called, 1);
});

test("an answer is parsed into an object of zod's", async () => {
  const Verdict = z.object({ sentiment: z.enum(["good", "bad"]), certain: z.boolean() });
  const completion = await client.chat.completions.parse({
    ...greedy,
    messages: [{ role: "user", content: "I love it!" }],
    max_tokens: 128,
    response_format: zodResponseFormat(Verdict, "verdict"),
  });

  assert.ok(["good", "bad"].includes(completion.choices[0].message.parsed.sentiment));
});

test("errors are typed and name the field", async () => {
  const ask = (fields) => client.chat.completions.create({ ...greedy, messages, ...fields });

  await assert.rejects(ask({ temperature: 9 }), (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
  await assert.rejects(
    client.chat.completions.create({ ...greedy, messages, model: "gpt-9" }, { headers: { "x-llamero-strict": "1" } }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
  await assert.rejects(
    ask({ messages: [{ role: "user", content: "word ".repeat(5000) }] }),
    (error) => error.code === "context_length_exceeded" && typeof error.requestID === "string",
  );
});

test("embeddings have the model's dimensions", { skip: embedder ? false : "SKIPPED: no embedding model" }, async () => {
  const embedding = new OpenAI({ baseURL: embedder, apiKey: "EMPTY", maxRetries: 0 });

  const { data } = await embedding.embeddings.create({ model: "all-minilm-l6-v2", input: ["one", "two"] });

  assert.deepEqual(data.map((entry) => [entry.index, entry.embedding.length]), [[0, 384], [1, 384]]);
});

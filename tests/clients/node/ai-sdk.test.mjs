// The AI SDK with its provider for OpenAI-compatible servers: text, streams, objects, tools, errors.

import assert from "node:assert/strict";
import test from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateObject, generateText, streamObject, streamText, tool } from "ai";
import { z } from "zod";
import { baseURL, model, question } from "./support.mjs";

const provider = createOpenAICompatible({ name: "llamero", baseURL, apiKey: "EMPTY", includeUsage: true, supportsStructuredOutputs: true });
const chat = provider(model);
const greedy = { model: chat, temperature: 0, maxOutputTokens: 32, maxRetries: 0 };
const Verdict = z.object({ sentiment: z.enum(["good", "bad"]), certain: z.boolean() });

test("generateText answers a question and counts its tokens", async () => {
  const { text, usage, finishReason } = await generateText({ ...greedy, prompt: question });

  assert.match(text, /Paris/);
  assert.ok(usage.inputTokens > 10 && usage.outputTokens > 3);
  assert.ok(["stop", "length"].includes(finishReason));
});

test("streamText streams the answer with its usage", async () => {
  const result = streamText({ ...greedy, prompt: question });
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);

  assert.ok(pieces.length > 3);
  assert.match(pieces.join(""), /Paris/);
  assert.ok((await result.usage).outputTokens > 3);
});

test("a completion model goes on with the text", async () => {
  const { text } = await generateText({ ...greedy, model: provider.completionModel(model), prompt: "The capital of France is" });

  assert.ok(text.length > 0);
});

test("generateObject and streamObject give objects that obey their schema", async () => {
  const fields = { ...greedy, maxOutputTokens: 128, schema: Verdict, prompt: "I love it!" };
  const { object } = await generateObject(fields);
  const streamed = streamObject(fields);
  let last;
  for await (const partial of streamed.partialObjectStream) last = partial;

  for (const verdict of [object, last, await streamed.object]) Verdict.parse(verdict);
});

test("a tool is called with arguments that obey its schema", async () => {
  const weather = tool({
    description: "The weather in a city",
    inputSchema: z.object({ city: z.enum(["Paris", "Rome"]), unit: z.enum(["C", "F"]) }),
    execute: async ({ city }) => `Sunny in ${city}`,
  });
  const fields = { ...greedy, maxOutputTokens: 128, tools: { weather }, toolChoice: "required", prompt: "What is the weather in Paris?" };
  const whole = await generateText(fields);
  const streamed = streamText(fields);
  await streamed.consumeStream();

  for (const [calls, results] of [
    [whole.toolCalls, whole.toolResults],
    [await streamed.toolCalls, await streamed.toolResults],
  ]) {
    assert.equal(calls[0].toolName, "weather");
    assert.match(results[0].output, /^Sunny in (Paris|Rome)$/);
  }
});

test("errors carry status and message", async () => {
  await assert.rejects(generateText({ ...greedy, temperature: 9, prompt: "Hello" }), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 400);
    assert.match(error.message, /temperature/);
    return true;
  });
});

// A streamed completion with nothing but Node 18 or newer: node examples/stream.mjs
// With the `openai` package the same is: new OpenAI({ baseURL, apiKey }).completions.create({ …, stream: true }).

const base = process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8000/v1";
const answer = await fetch(`${base}/completions`, {
  method: "POST",
  headers: { "content-type": "application/json", authorization: `Bearer ${process.env.OPENAI_API_KEY ?? "EMPTY"}` },
  body: JSON.stringify({
    model: "smollm2-135m-instruct",
    prompt: "The capital of France is",
    max_tokens: 64,
    temperature: 0,
    stream: true,
  }),
});
if (!answer.ok) {
  throw new Error(`${answer.status}: ${await answer.text()}`);
}

let rest = "";
let done = false;
for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\n");
  rest = lines.pop(); // The last line may continue in the next piece.
  for (const line of lines) {
    if (!line.startsWith("data: ")) continue; // A blank line, or a comment that keeps the connection alive.
    const data = line.slice("data: ".length);
    if (data === "[DONE]") {
      done = true;
      continue;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    process.stdout.write(chunk.choices[0]?.text ?? "");
  }
}
process.stdout.write("\n");
// A stream that ends without [DONE] was cut off, however well it looks.
if (!done) throw new Error("the stream was cut off");

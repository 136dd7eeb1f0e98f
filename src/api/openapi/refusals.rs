//! The part of `docs/API.md` that lists what is refused, where, and for which reason.

/// The section. Its numbers are those of the constants beside the readers.
pub(super) const REFUSALS: &str = "\
## Refusals

Here is each 4xx answer of the routes that generate text and of those that share their rules, and each 503, after which
the same request may succeed (`Retry-After` says when). The column *where* has these words:

- *completions*, *chat*, *responses*, *messages*: these routes of `/v1`. The first three are *OpenAI's*, the last three
  *chats*. *messages* answers an overload with 529; `/v1/messages/count_tokens` needs no limit, and counts any prompt.
- *llama*: `/completion` and `/infill`, which change and report what is marked with +. *generate*: `/generate`, where a
  fault of a field is 422 and not 400. *generating*: all routes so far.
- *vectors*: `/v1/embeddings`, `/embedding`, `/v1/rerank` and `/v1/score`, under all their names.
- *all*: these, `/tokenize`, `/detokenize`, `/apply-template`, `/v1/explain` and the `render` routes. Bodies
  with messages are refused as on *chat*; `/tokenize` and `/apply-template` take conversations longer than the context.

### Transport, keys and load

| refused | where | status | reason |
| --- | --- | --- | --- |
| no `Host` header in HTTP/1.1, more than one, or one that is no host | all | 400 | HTTP requires one |
| more than 100 headers, or a head that exceeds about 16 KiB | all | 431 | a head takes memory before the key is known |
| on a loopback address without keys: a `Host` that is neither this machine nor one of `--allowed-hosts`; an `Origin` that is none of these, not the `Host`, and none of `--cors-origins` | all | 403 | a web page could otherwise use the server through the browser of its user |
| a browser's pre-flight for a page that may not read answers (`--cors-origins`) | all | 403 | the operator did not allow the page |
| no key, one that is not configured, or its header twice | all | 401 | the server has keys |
| more requests than `--rpm` in a minute | all | 429 | the operator's limit for each key |
| a path that is no route, such as `/v1/responses/{id}`; another method; a WebSocket | all | 404; 405; 426 | responses are not stored; streams are server-sent events |
| a body above `--max-body-bytes` (2 MiB) as sent or decoded; one that takes longer than `--body-timeout` (30 s) | all | 413; 408 | it would take memory and a connection |
| a `Content-Encoding` other than `gzip` and `zstd`, such as `br` or `deflate`, or more than one | all | 415 | Brotli's windows need up to 1 GiB of memory; the others are not implemented |
| a body that breaks off, is not what its `Content-Encoding` says, or has a Zstandard window above 8 MiB | all | 400 | it cannot be read |
| any request before the model is loaded, after the engine was given up, or when the server has begun to stop | all | 503 | no engine can answer; while an engine is started again, requests wait |
| more sequences than may wait (`--max-waiting`, 512), or than half of the places that other active keys leave | generating | 503 | the queue is full, or the key has its share |
| more than 2,048 texts and constraints in work, or 128 MiB of them; 320 requests for *vectors*; bodies that need 512 MiB of memory; a key gets half of each | all | 503 | the server has too much work |
| a sequence without room in the KV cache; work whose engine ended and that cannot go on, or whose model file was changed | all | 503 | the work is lost |
| for ten minutes, a request of whose work engines died twice, or were killed from outside three times | all | 422 | it would end the work of all others again |
| more sequences (prompts times `n`) than `--max-num-seqs` and `--max-waiting` together | generating | 400 | they could never be accepted |
| text from an embedding model, vectors from another one, embeddings from a ranking model | all | 400 | the model cannot compute them |

### The body and any of its fields

| refused | where | status | reason |
| --- | --- | --- | --- |
| a body that is empty, no JSON object, not UTF-8, or nested more than 64 deep | all but generate | 400 | it cannot be read; of a repeated name the last value counts |
| a body that is empty, no JSON object or of another `Content-Type`; one that is not UTF-8, is nested more than 64 deep, or has an integer of more than 4,300 digits | generate | 422; 400 | FastAPI's rules |
| a required field that is absent or `null` | all | 400 | there is nothing to compute; the tables of routes mark these fields |
| a value of the wrong type, or a word that the field does not have | all | 400 | its meaning is not known |
| a number outside the range in the route's table (of samplers +; more log-probabilities than the most are reduced) | all | 400 | it has no meaning there |
| a request that would be answered with a warning, except that objects are closed or that `truncation: auto` left out turns; unknown fields are such warnings | all, strict | 400 | the client asked for it |
| a `model` that is not served; no `model`, where its absence is reported | all but generate, strict | 404; 400 | another model would answer |

### Prompts and lengths

| refused | where | status | reason |
| --- | --- | --- | --- |
| a prompt that does not fit into the context, or leaves no room for an answer | generating but `/infill`, which cuts it, and *responses* with `truncation: auto`, if the newest turn fits | 400 `context_length_exceeded` | on *messages*: `prompt is too long: N tokens > M maximum` |
| a limit above the room that the prompt leaves | generating, strict | the same code, with the limit's field | on *messages*: ``input length and `max_tokens` exceed context limit: A + B > M, …``; on *generate* and `/infill` as any warning |
| a limit of -1; no limit | messages, generate; messages | 400 | FastAPI's and Anthropic's rules |
| `max_tokens` and `max_completion_tokens` that differ | chat | 400 | one of them would be ignored |
| an empty prompt, if the vocabulary has no token to begin with | generating | 400 | there is nothing to compute |
| an empty array, more than 32 prompts, texts and lists of ids mixed (`/completion`: more than 64 texts between ids), or more tokens together than two contexts | completions, `/completion` | 400 | prompts take memory |
| a token id outside the vocabulary | completions, `/completion`, vectors, `/detokenize` | 400 | there is no such token |
| a text with a longer run of characters without a break, or with more special tokens, than the tokenizer survives; more than 3,354,419 bytes | all | 400 | it would fail or take minutes; the message has the limit |
| `truncate_prompt_tokens: 0`; `suffix` with a model without fill-in-the-middle tokens, prompts of ids, `truncate_prompt_tokens`, or `echo` and `logprobs` together | completions | 400 | another prompt would be computed than is asked for |
| a model without fill-in-the-middle tokens; more than 128 entries of `input_extra` | `/infill` | 400 | there are no marks for the hole; files take memory |
| an empty input, more than 2,048 inputs (2,047 `documents`, 1,024 texts of a score's side) or 300,000 tokens; an input that is too long, without `truncate_prompt_tokens` | vectors | 400 | OpenAI's limits; a text that is cut has another meaning |
| more `dimensions` or `truncate_prompt_tokens` than the model has, or too few for any token of the text; a score's sides of different lengths, or a side under two names | vectors | 400 | there is no such vector or pair |
| `content` with `prompt`, one of them with `messages`, or none; `add_special` and `add_special_tokens` that differ | `/tokenize` | 400 | one of them would be ignored |

### Messages and media

| refused | where | status | reason |
| --- | --- | --- | --- |
| no message, or more than 2,048 | chats | 400 | templates take time for each message |
| a role that the route does not have; an item without a type and role | chats; responses | 400 | its place in the prompt is not known |
| no `content` of a user or of `system` | chats | 400 | nothing was said; an empty array is the empty text |
| an image or another medium in what a user says in the newest turn; `multimodal_data` | chats; `/completion` | 400 | the model reads text only, so the answer would mislead |
| there, a part of a type that is not known here, or `audio` on *chat*; anywhere, a part without its text | chat, responses | 400 | its meaning may change the answer; in answers, results and older turns a note takes its place and is reported |
| such a block there or in `system`; a document that is a file or an address; a block that its role cannot have | messages | 400 | the same; in answers they are left out and reported |
| a call without a name, or with one above 1,024 bytes; calls in a message that is not the assistant's | chats | 400 | templates print them; ids that are missing follow from the order |
| a last message of the assistant with `tool_use`, or with `thinking` alone | messages | 400 | only text can be continued |
| `continue_final_message` with `add_generation_prompt` or without text in the last message; a text that the template changes or leaves out | chats | 400 | the answer would not continue it |
| a conversation that the model's chat template refuses or fails on | chats | 400 | the message has the template's reason |
| more than 32 `chat_template_kwargs`, or one that the server sets and the template reads | chats | 400 | each takes memory; the template needs the server's value |
| `chat_template`, `add_special_tokens: true`; on *chat* also `documents` that are not empty, `truncate_prompt_tokens`, `echo: true` | chat, `/tokenize`, `/apply-template` | 400 | the operator chooses the template, which writes special tokens; documents belong into `messages`, and old messages can be left out |

### Tools

| refused | where | status | reason |
| --- | --- | --- | --- |
| more than 128 tools, or 262,144 bytes of JSON in all of them; tools that are left out do not count | chats | 400 | templates, schemas and grammars are made from each tool |
| a name with other characters than letters, digits, `_` and `-`, or more than 64 (*messages*: 128), or that of another tool with other contents | chats | 400 | OpenAI's and Anthropic's rule; a call would be ambiguous |
| parameters that are no schema of type `object`; a custom tool's `format` other than `text` or a `grammar` in `lark` or `regex` | chats; chat, responses | 400 | the input could not be held to it |
| a `tool_choice` of a type that is not known here | chats | 400 | it would not be obeyed |
| a `tool_choice` that names a tool which is not sent, also in `allowed_tools`, or asks for a call without tools | chats | 400 | no answer can be such a call; if the tool was left out, this is a warning |
| tools that must be called and whose description does not fit | chats | 400 `context_length_exceeded` | the call would be made without knowing the tool |

### Structured output

| refused | where | status | reason |
| --- | --- | --- | --- |
| two constraints that differ; `output_format` beside `output_config.format` | OpenAI's, llama; messages | 400 | an output can obey one |
| a format of an unknown type, without its schema, or with a `name` of more than 1,024 bytes; unknown options of `structured_outputs` | OpenAI's, messages | 400 | nothing, or another constraint, would be enforced; responses repeat the name |
| a constraint, or a `strict` tool that must be called, that is malformed, above [a limit](STRUCTURED_OUTPUT.md#fields), has [keywords that are not supported](STRUCTURED_OUTPUT.md#keywords-that-are-refused), or that no text of the model can fulfil | OpenAI's, llama, messages | 400 | nothing is generated without its constraint; a stream that has begun ends with the error |
| a constraint that cannot be tried out now | OpenAI's, llama, messages | 503 | others are compiled, or the machine is busy |

### Sampling and ends

| refused | where | status | reason |
| --- | --- | --- | --- |
| `n`, `n_cmpl` or `best_of` above 8 or above `--max-num-seqs`; `best_of` below `n`, or above it in a stream | completions, chat, llama | 400 | each answer takes a slot; the best are known only at the end |
| more than 300 entries of `logit_bias`; keys that are no numbers +; biases beyond -100 to 100 + | OpenAI's, llama | 400 | OpenAI's limits |
| `repetition_penalty` and `repeat_penalty`, or `typical_p` and `typ_p`, that differ +; more than 16 `dry_sequence_breakers` +, or one without or with more than 40 bytes + | OpenAI's | 400 | two names of one parameter; llama.cpp's limits |
| more stop strings than `--max-stop-strings` (64), one of more than 256 bytes (*generate*: characters), or 16,384 bytes together; on *generate* an empty one | generating | 400 | each is compared with each byte of the answer |
| more than 128 `stop_token_ids`, or ids outside the vocabulary | OpenAI's, llama | 400 | each takes memory; there is no such token |
| `top_logprobs` without `logprobs`; `prompt_logprobs` in a stream | chat; completions | 400 | the answer has no place for them |
| `allowed_token_ids`, `bad_words`, `logits_processors`, `prompt_embeds`, `use_beam_search`, unless empty or `false` | OpenAI's | 400 | vLLM's; not implemented, and they would change the answer |
| more than 64 entries of `samplers` or `response_fields` | llama | 400 | each takes memory |

### What only OpenAI's or Anthropic's servers can do

| refused | where | status | reason |
| --- | --- | --- | --- |
| `modalities` other than text; `web_search_options`; a `prediction` that is not text | chat | 400 | the answer is text, and this server does not search the web |
| `functions`, unless empty; `function_call`, unless `none` | chat | 400 | OpenAI replaced them by `tools` and `tool_choice` |
| `previous_response_id`, `conversation`, `prompt`, items of type `item_reference`; `background: true` | responses | 400 | nothing is stored, so send the items; no answer can be fetched later. `store: true` is a warning |
| `metadata` of more than 65,536 bytes | responses | 400 | it is repeated in the answer |
| `container`, `mcp_servers`, `thread`, unless an empty array | messages | 400 | this server runs no code, calls no other servers and keeps no conversations |
";

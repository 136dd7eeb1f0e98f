#!/usr/bin/env bash
# Every route of llamero by curl. Start the server first: scripts/serve
set -euo pipefail
url=${LLAMERO_URL:-http://127.0.0.1:8000}
model=smollm2-135m-instruct
key=(-H "authorization: Bearer ${OPENAI_API_KEY:-EMPTY}") # Only read when the server was started with --api-key.
json=(-H 'content-type: application/json')

show() { printf '\n# %s\n' "$1"; }

show "what is served"
curl -sS --fail-with-body "${key[@]}" "$url/v1/models"

show "a completion"
curl -sS --fail-with-body "${key[@]}" "${json[@]}" "$url/v1/completions" \
    -d '{"model":"'"$model"'","prompt":"The capital of France is","max_tokens":16,"temperature":0}'

show "the same as a stream (-N: do not hold lines back)"
curl -sSN --fail-with-body "${key[@]}" "${json[@]}" "$url/v1/completions" \
    -d '{"model":"'"$model"'","prompt":"The capital of France is","max_tokens":16,"temperature":0,"stream":true}'

show "a conversation"
curl -sS --fail-with-body "${key[@]}" "${json[@]}" "$url/v1/chat/completions" \
    -d '{"model":"'"$model"'","messages":[{"role":"user","content":"What is the capital of France?"}],"max_tokens":16,"temperature":0}'

show "the same as Anthropic's clients ask"
curl -sS --fail-with-body "${key[@]}" "${json[@]}" "$url/v1/messages" \
    -d '{"model":"'"$model"'","messages":[{"role":"user","content":"What is the capital of France?"}],"max_tokens":16,"temperature":0}'

show "the legacy route"
curl -sS --fail-with-body "${key[@]}" "${json[@]}" "$url/generate" \
    -d '{"prompt":"The future of AI is","max_tokens":50,"temperature":0.7}'

show "is it well?"
curl -sS --fail-with-body "$url/health"
echo

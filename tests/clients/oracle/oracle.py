"""The numbers that a model computes, by llama-cpp-python: a program that reads questions as JSON and prints the answers as JSON.

Runs in its own process and in its own environment (requirements.txt), knows nothing of llamero, and computes one
text at a time: each prompt in one batch (for `greedy` all of it but the last token), then token by token.
In: {"model": path, "scored": [[context, continuation]], "prompts": [text], "max_tokens": n}.
Out: {"scored": [...], "greedy": [...]}, as `score` and `complete` below make them.
"""

import json
import sys

import llama_cpp
import numpy as np

POSITIONS = 512


def load(path, logits_all):
    return llama_cpp.Llama(path, n_ctx=POSITIONS, n_batch=POSITIONS, n_ubatch=POSITIONS, n_threads=2, n_threads_batch=2,
                           logits_all=logits_all, flash_attn=False, verbose=False)


def log_softmax(logits):
    logits = logits.astype(np.float64)
    highest = logits.max(axis=-1, keepdims=True)
    return logits - highest - np.log(np.exp(logits - highest).sum(axis=-1, keepdims=True))


def score(llm, context, continuation):
    """Log-likelihood (natural) of a continuation as lm-eval splits it, and whether each of its tokens is the likeliest."""
    tokens = llm.tokenize((context + continuation).encode(), add_bos=False)
    given = len(llm.tokenize(context.encode(), add_bos=False))
    llm.reset()
    llm.eval(tokens)
    rows = log_softmax(llm.scores[given - 1 : len(tokens) - 1])
    targets = np.array(tokens[given:])
    chosen = rows[np.arange(len(targets)), targets]
    ordered = np.sort(rows, axis=-1)
    return {
        "tokens": tokens,
        "logprob": float(chosen.sum()),
        "greedy": bool((rows.argmax(axis=-1) == targets).all()),
        # The smallest distance of a target from the likeliest token, or from the second likeliest if it is the likeliest itself.
        "margin": float(np.abs(chosen - np.where(rows.argmax(axis=-1) == targets, ordered[:, -2], ordered[:, -1])).min()),
    }


def complete(llm, prompt, max_tokens):
    """The likeliest tokens after a prompt, with the lead of each over the second likeliest (natural log)."""
    prompt_tokens = llm.tokenize(prompt.encode(), add_bos=True)  # Where the model wants one.
    llm.reset()
    # The last token by itself, as the server computes it where a seed is given.
    for batch in filter(None, (prompt_tokens[:-1], prompt_tokens[-1:])):
        llm.eval(batch)
    tokens, margins = [], []
    while len(tokens) < max_tokens:
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(llm.ctx, -1), shape=(llm.n_vocab(),))
        second, best = np.sort(np.partition(logits, -2)[-2:])
        tokens.append(int(logits.argmax()))
        margins.append(float(best - second))
        llm.eval(tokens[-1:])
    text = llm.detokenize(tokens, prev_tokens=prompt_tokens).decode(errors="replace")
    return {"prompt_tokens": prompt_tokens, "tokens": tokens, "margins": margins, "text": text}


def main():
    questions = json.load(sys.stdin)
    answers = {"scored": [], "greedy": []}
    if questions.get("scored"):
        llm = load(questions["model"], logits_all=True)
        answers["scored"] = [score(llm, *pair) for pair in questions["scored"]]
    if questions.get("prompts"):
        llm = load(questions["model"], logits_all=False)
        answers["greedy"] = [complete(llm, prompt, questions["max_tokens"]) for prompt in questions["prompts"]]
    json.dump(answers, sys.stdout)


main()

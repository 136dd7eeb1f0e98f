"""lm-eval scores texts through the server, and gets what llama-cpp-python computes from the same file.

The tasks are in lm_eval/. lm-eval is its real command line, in the oracle's environment, and finds our tokenizer by itself.
"""

import json
import shutil

import greedy
import oracles
import pytest
from support import MODEL

pytestmark = [oracles.needed, pytest.mark.timeout(900)]

TASKS = ["choices", "continuations"]
PAIRS = 20 * 4 + 12

# Natural log. Measured where the server computes each text by itself, as the oracle does: 1.1e-6, the rounding of sums.
ALONE = 1e-3

# Of several texts at once, one may get a single row in a step, which llama.cpp computes with another kernel (greedy.py).
# Measured with lists of four: 91 of 92 within 2e-7, one 0.13 off over 18 tokens (Q4_1 on a CPU with AMX).
TOGETHER = 0.5
MOSTLY_ALONE = 0.8


def evaluate(server, folder, batch_size=1, **model_arguments):
    """[(context, continuation)] and [(log-likelihood, is greedy)] of a run of lm-eval over all tasks."""
    tasks = folder / "tasks"
    tasks.mkdir()
    for task in TASKS:
        shutil.copy(oracles.HERE / f"lm_eval/{task}.jsonl", tasks)
        text = (oracles.HERE / f"lm_eval/{task}.yaml").read_text(encoding="utf-8").replace("DATA", str(tasks))
        (tasks / f"{task}.yaml").write_text(text, encoding="utf-8")
    settings = {"base_url": f"{server.base_url}/completions", "model": MODEL, "max_retries": 1, "max_length": 512} | model_arguments
    oracles.run_module(
        *("lm_eval", "run", "--model", "local-completions", "--include_path", tasks, "--tasks", *(f"llamero_{task}" for task in TASKS)),
        *("--model_args", ",".join(f"{name}={value}" for name, value in settings.items())),
        *("--batch_size", batch_size, "--log_samples", "--output_path", folder / "out"),
        HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=str(folder / "cache"),
    )
    return read_samples(folder / "out")


def read_samples(folder):
    pairs, scores = [], []
    for task in TASKS:
        [file] = folder.rglob(f"samples_llamero_{task}_*.jsonl")
        for line in sorted(map(json.loads, file.read_text(encoding="utf-8").splitlines()), key=lambda sample: sample["doc_id"]):
            for arguments, [score] in zip(line["arguments"].values(), line["resps"], strict=True):
                pairs.append((arguments["arg_0"], arguments["arg_1"]))
                scores.append((float(score[0]), score[1] == "True"))
    return pairs, scores


@pytest.fixture(scope="module")
def alone(server, tmp_path_factory):
    """One request at a time, of token ids."""
    return evaluate(server, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def expected(alone):
    return oracles.ask(scored=alone[0])["scored"]


def differences(scores, expected):
    """The differences of log-likelihoods, and the margins of the texts that only one of the two calls greedy."""
    assert len(scores) == len(expected) == PAIRS
    pairs = list(zip(scores, expected, strict=True))
    apart = [abs(score - right["logprob"]) for (score, _), right in pairs]
    disputed = [right["margin"] for (_, is_greedy), right in pairs if is_greedy != right["greedy"]]
    print(f"log-likelihoods differ by up to {max(apart):.2e}, {sum(d > ALONE for d in apart)} by more than {ALONE}, disputed greedy flags {disputed}")
    return apart, disputed


def test_loglikelihoods_are_those_of_llama_cpp(alone, expected):
    apart, disputed = differences(alone[1], expected)

    assert max(apart) <= ALONE
    assert not disputed
    assert {is_greedy for _, is_greedy in alone[1]} == {True, False}, "a task that always says the same proves nothing"


def test_texts_are_scored_as_their_tokens(server, tmp_path, alone, expected):
    pairs, scores = evaluate(server, tmp_path, tokenized_requests=False)

    apart, disputed = differences(scores, expected)
    assert pairs == alone[0]
    assert max(apart) <= ALONE
    assert not disputed


@pytest.mark.parametrize("arguments", [{"batch_size": 4}, {"num_concurrent": 4}], ids=["lists", "concurrent"])
def test_texts_that_are_scored_together_do_not_disturb_each_other(server, tmp_path, alone, expected, arguments):
    pairs, scores = evaluate(server, tmp_path, **arguments)

    apart, disputed = differences(scores, expected)
    assert pairs == alone[0]
    assert max(apart) <= TOGETHER
    assert sum(d <= ALONE for d in apart) >= MOSTLY_ALONE * PAIRS
    assert all(margin <= greedy.EPSILON for margin in disputed)

"""lm-eval scores texts through the server, and gets what llama-cpp-python computes from the same file.

The tasks are in lm_eval/. lm-eval is its real command line, in the oracle's environment, and finds our tokenizer by itself.
"""

import json
import shutil

import oracles
import pytest
from support import MODEL

pytestmark = [oracles.needed, pytest.mark.timeout(900)]

TASKS = ["choices", "continuations"]
PAIRS = 20 * 4 + 12

# Natural log. Measured with one request at a time: 8e-7, the rounding of sums of printed numbers. One text, one batch is
# what the oracle computes, and the server then does the same arithmetic.
ALONE = 1e-3


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


def compare(scores, expected):
    """The largest difference of log-likelihoods, and the margins of the texts that only one of the two calls greedy."""
    assert len(scores) == len(expected) == PAIRS
    pairs = list(zip(scores, expected, strict=True))
    largest = max(abs(score - right["logprob"]) for (score, _), right in pairs)
    disputed = [right["margin"] for (_, greedy), right in pairs if greedy != right["greedy"]]
    print(f"largest difference of log-likelihoods {largest:.2e}, {len(disputed)} disputed greedy flags {disputed}")
    return largest, disputed


def test_loglikelihoods_are_those_of_llama_cpp(alone, expected):
    largest, disputed = compare(alone[1], expected)

    assert largest <= ALONE
    assert not disputed
    assert {greedy for _, greedy in alone[1]} == {True, False}, "a task that always says the same proves nothing"


@pytest.mark.parametrize(
    "arguments",
    [{"tokenized_requests": False}, {"batch_size": 4}, {"num_concurrent": 4}, {"num_concurrent": 2, "batch_size": 4}],
    ids=["texts", "lists of token ids", "concurrent", "concurrent lists"],
)
def test_however_it_asks_the_answers_are_the_same(server, tmp_path, alone, expected, arguments):
    pairs, scores = evaluate(server, tmp_path, **arguments)

    assert pairs == alone[0]
    largest, disputed = compare(scores, expected)
    assert largest <= ALONE
    assert not disputed

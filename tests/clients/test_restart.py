"""A server that starts again knows the prompts that it had computed, if it was given a folder for them."""

import os
import signal
import subprocess

import openai
from support import BINARY, MODEL, MODEL_FILE, Server, clean_environment, free_port, wait_until

SYSTEM = "You answer questions on the rules of a long game. " + " ".join(f"Rule {n}: whoever lands on {n} waits." for n in range(40))


def ask(running, question):
    """What the model says, and how many tokens of the prompt were not computed."""
    with openai.OpenAI(base_url=running.base_url, api_key="EMPTY", max_retries=0, timeout=60) as client:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8, temperature=0)
    return answer.choices[0].message.content, answer.usage.prompt_tokens_details.cached_tokens


def kept(folder):
    return sorted(path.name for path in folder.glob("*.prefix"))


def start(tmp_path, folder, *arguments):
    log = tmp_path / f"log{len(list(tmp_path.glob('log*')))}"
    return Server(log, "--max-num-seqs", "2", "--max-model-len", "2048", "--prefix-cache-dir", folder, *arguments).wait_ready()


def restored(running):
    wait_until(lambda: running.metric("llamero:restored_tokens_total") > 0, 20, "prefixes are read")
    return running


def test_a_server_that_was_stopped_starts_warm(tmp_path):
    folder = tmp_path / "prefixes"
    cold = start(tmp_path, folder)
    first, cached = ask(cold, "Where do I wait?")
    assert cached == 0
    cold.stop()
    assert kept(folder)

    warm = restored(start(tmp_path, folder))
    again, cached = ask(warm, "Where do I wait?")
    assert again == first and cached > 500
    _, cached = ask(warm, "Who moves first?")
    assert cached > 500, "the system prompt"
    warm.stop()

    other_cells = start(tmp_path, folder, "--kv-cache-dtype", "q8_0")
    wait_until(lambda: not kept(folder), 20, "what is of no use is removed")
    assert ask(other_cells, "Where do I wait?")[1] == 0
    other_cells.stop()


def test_a_server_that_was_killed_starts_with_what_it_saved_when_idle(tmp_path):
    folder = tmp_path / "prefixes"
    killed = start(tmp_path, folder)
    first, _ = ask(killed, "Where do I wait?")
    wait_until(lambda: kept(folder), 20, "the idle engine saves")
    killed.process.kill()
    killed.process.wait()

    warm = restored(start(tmp_path, folder))
    again, cached = ask(warm, "Where do I wait?")
    assert again == first and cached > 500
    warm.stop()


def test_a_sigterm_that_reaches_the_engine_too_lets_streams_finish_and_prompts_be_kept(tmp_path):
    folder = tmp_path / "prefixes"
    running = start(tmp_path, folder)
    with openai.OpenAI(base_url=running.base_url, api_key="EMPTY", max_retries=0, timeout=60) as client:
        stream = client.completions.create(
            model=MODEL, prompt=SYSTEM, max_tokens=100, temperature=0, stream=True, extra_body={"ignore_eos": True}
        )
        chunks = [next(stream)]
        for pid in (running.engine_pid(), running.pid):
            os.kill(pid, signal.SIGTERM)
        chunks += list(stream)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert running.process.wait(20) == 0
    assert kept(folder)


def test_a_folder_that_others_may_write_to_is_refused(tmp_path):
    folder = tmp_path / "prefixes"
    folder.mkdir()
    folder.chmod(0o777)
    command = [BINARY, "serve", "--model", MODEL_FILE, "--port", free_port(), "--prefix-cache-dir", folder]
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, env=clean_environment())
    assert ended.returncode != 0 and "other users can write there" in ended.stderr


def test_two_servers_do_not_share_a_folder_and_swap_space_is_needed(tmp_path):
    folder = tmp_path / "prefixes"
    running = start(tmp_path, folder)

    def refusal(*arguments):
        command = [BINARY, "serve", "--model", MODEL_FILE, "--port", free_port(), "--prefix-cache-dir", folder, *arguments]
        ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, env=clean_environment())
        assert ended.returncode != 0
        return ended.stderr

    assert "is used by another server" in refusal()
    assert "--prefix-cache-dir" in refusal("--swap-space", "0")
    running.stop()

"""Runs every verb of deploy/gcp/llamero-gcp against a recording gcloud.

No test reaches Google. The fake gcloud keeps made things in a JSON file, so that look-ups find them by the labels,
names and descriptions with which they were made. Each golden file is a transcript: messages in the order in which they
came, and commands after "+ ". LLAMERO_WRITE_GOLDEN=1 writes them anew. Needs Python's standard library, pytest and bash.
"""

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "gcp"
SCRIPT = DEPLOY / "llamero-gcp"
GOLDEN = Path(__file__).parent / "golden" / "gcp"
CREATE = ["create", "--repository", "https://example.com/llamero.git"]
LOOK_UPS = {"list", "describe", "get-iam-policy", "get-value", "read"}
KEY = re.compile(r"sk-llamero-[0-9a-f]{48}")


def fake_gcloud(argv, home):
    """Stands in for gcloud and curl. Its source is copied into a program, so it imports for itself."""
    import json
    import re
    import shlex
    import sys
    from pathlib import Path

    home = Path(home)
    program, words = Path(argv[0]).name, [word for word in argv[1:] if not word.startswith("-")]
    options = dict(word[2:].partition("=")[::2] for word in argv[1:] if word.startswith("--"))
    stdin = sys.stdin.read() if "--data-file=-" in argv else ""
    call = {"argv": [program, *argv[1:]], "stdin": bool(stdin)}
    with open(home / "calls.jsonl", "a") as calls, open(home / "transcript", "a") as transcript:
        calls.write(json.dumps(call) + "\n")
        transcript.write("+ " + shlex.join(call["argv"]) + (" # with standard input" if stdin else "") + "\n")
    state = json.loads((home / "state.json").read_text())
    if state.get("fails") and state["fails"] in " ".join(argv[1:]):
        sys.exit(f"ERROR: {state['fails']} fails in this test")
    if program == "curl":
        print(state["address"])
        return
    words = words[1:] if words[0] == "compute" else words
    kind, verb, name = words[0], words[-1] if words[-1] == "list" else words[1], words[-1]
    things = state["things"]

    def labels():
        return dict(pair.split("=") for pair in options.get("labels", "").split(",") if pair)

    def made(name, **fields):
        thing = {"kind": kind, "name": name, "labels": labels(), "description": options.get("description", ""), **fields}
        things.append(thing)
        return thing

    def field(thing, path):
        for part in re.findall(r"[^.\[\]()]+", path.replace(".basename()", "").replace(".list()", "")):
            thing = thing[int(part)] if part.isdigit() and thing else (thing or {}).get(part, "")
        return ",".join(thing) if isinstance(thing, list) else str(thing)

    def listed(things):
        for clause in filter(None, options.get("filter", "").split(" AND ")):
            path, _, wanted = clause.partition("=")
            things = [thing for thing in things if field(thing, path) == wanted.strip('"')]
        shape = re.fullmatch(r"(value|csv\[no-heading\])\((.*)\)", options["format"])
        for thing in things:
            print(("\t" if shape[1] == "value" else ",").join(field(thing, path) for path in shape[2].split(",")))

    if words[:2] == ["config", "get-value"]:
        print(state["config"].get(words[2], ""))
    elif verb == "describe":
        print("\n".join(state["quotas"][kind]))
    elif words[:3] == ["secrets", "versions", "list"]:
        print("\n".join(thing.get("versions", "") for thing in things if thing["kind"] == "secrets"))
    elif words[:3] == ["secrets", "versions", "add"]:
        for thing in things:
            if thing["kind"] == "secrets" and thing["name"] == name:
                thing["versions"] = "enabled"
        (home / "secret").write_text(stdin)
    elif words[:3] == ["secrets", "versions", "access"]:
        print((home / "secret").read_text(), end="")
    elif verb == "add-iam-policy-binding" and kind == "projects":
        state["bindings"].append({"bindings": {"role": options["role"], "members": options["member"]}})
    elif verb == "remove-iam-policy-binding":
        state["bindings"] = [each for each in state["bindings"] if each["bindings"]["role"] != options["role"]]
    elif verb == "get-iam-policy":
        listed(state["bindings"])
    elif verb == "list":
        zones = options.get("zones")
        listed([each for each in things if each["kind"] == (kind if kind != "iam" else "accounts") and zones in (None, each.get("zone"))])
    elif words[:3] == ["iam", "service-accounts", "create"]:
        made(name, kind="accounts", email=f"{name}@{options['project']}.iam.gserviceaccount.com")
    elif words[:3] == ["iam", "service-accounts", "delete"]:
        state["things"] = [thing for thing in things if thing.get("email") != name]
    elif kind == "instances" and verb == "create":
        gpu = "nvidia-tesla-t4" if "accelerator" in options else "nvidia-l4"
        made(name, status="RUNNING", machineType=options["machine-type"], zone=options["zone"],
             guestAccelerators=[{"acceleratorType": gpu}], disks=[{"diskSizeGb": options["boot-disk-size"][:-2]}],
             scheduling={"provisioningModel": options.get("provisioning-model", "STANDARD")},
             networkInterfaces=[{"accessConfigs": [{"natIP": "198.51.100.9"}]}])  # fmt: skip
        made(name, kind="disks", zone=options["zone"], labels={})
    elif verb == "add-labels":
        next(thing for thing in things if thing["kind"] == "disks" and thing["name"] == name)["labels"] = labels()
    elif kind == "instances" and verb in ("start", "stop"):
        for thing in things:
            if thing["kind"] == kind:
                thing["status"] = {"start": "RUNNING", "stop": "TERMINATED"}[verb]
    elif kind == "firewall-rules" and verb in ("create", "update"):
        rule = next((thing for thing in things if thing["name"] == name), None) or made(name)
        rule["sourceRanges"] = options["source-ranges"].split(",")
    elif kind == "secrets" and verb == "create":
        made(name)
    elif verb == "delete":
        gone = (kind, "disks") if kind == "instances" and not state.get("keeps_disks") else (kind,)
        state["things"] = [thing for thing in things if not (thing["name"] == name and thing["kind"] in gone)]
    elif kind == "ssh":
        print(state["ssh"])
    (home / "state.json").write_text(json.dumps(state))


class Cloud:
    """A folder with the fakes, and the way to run the script beside them."""

    def __init__(self, home: Path):
        self.home, self.bin = home, home / "bin"
        self.bin.mkdir()
        state = {
            "things": [], "bindings": [], "config": {}, "address": "203.0.113.7", "ssh": '{"status":"ready"}',
            "quotas": {"regions": ["CPUS,24.0,8.0", "NVIDIA_L4_GPUS,1.0,0.0", "PREEMPTIBLE_NVIDIA_L4_GPUS,1.0,1.0",
                                   "NVIDIA_T4_GPUS,0.0,0.0"], "project-info": ["GPUS_ALL_REGIONS,1.0,0.0"]},
        }  # fmt: skip
        (home / "state.json").write_text(json.dumps(state))
        source = inspect.getsource(fake_gcloud)
        for name in ("gcloud", "curl", "sleep"):
            program = self.bin / name
            program.write_text(f"#!{sys.executable} -IS\n{source}\nimport sys\nfake_gcloud(sys.argv, {str(home)!r})\n")
            program.chmod(0o755)
        (self.bin / "sleep").write_text(f"#!/bin/sh\necho '+ sleep' \"$@\" >>{shlex.quote(str(home / 'transcript'))}\n")

    def now(self):
        return json.loads((self.home / "state.json").read_text())

    def keep(self, **changes):
        (self.home / "state.json").write_text(json.dumps(self.now() | changes))

    def run(self, *arguments, yes=True, status=0, stdin=subprocess.DEVNULL, **environment):
        """Runs llamero-gcp; what it printed and the commands of the fakes are in one transcript, in their order."""
        for name in ("transcript", "calls.jsonl"):
            (self.home / name).unlink(missing_ok=True)
        argv = [str(SCRIPT), *arguments, *(["--yes"] if yes else [])]
        clean = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home), "LLAMERO_GCP_PROJECT": "demo"} | environment
        with open(self.home / "transcript", "a") as transcript:
            done = subprocess.run(argv, stdin=stdin, stdout=transcript, stderr=transcript, env=clean, cwd=self.home, timeout=60)
        self.transcript = (self.home / "transcript").read_text()
        assert done.returncode == status, self.transcript
        calls = self.home / "calls.jsonl"
        self.calls = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
        return self.transcript

    def changes(self):
        """The recorded commands that are no look-ups."""
        return [call["argv"] for call in self.calls if call["argv"][0] == "gcloud" and not LOOK_UPS & set(call["argv"])]


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


@pytest.fixture
def running(cloud):
    cloud.run(*CREATE)
    return cloud


def golden(name: str, text: str):
    text = text.replace(str(DEPLOY), "deploy/gcp")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("LLAMERO_WRITE_GOLDEN"):
        path.write_text(text)
    assert path.exists(), f"no {path}; LLAMERO_WRITE_GOLDEN=1 writes it"
    assert text == path.read_text()


# Each has a golden file: on a project without anything, and on one where `create` has run.
EMPTY = {
    "quota": ["quota"],
    "cost": ["cost"],
    "create-l4": CREATE,
    "create-t4-spot": [*CREATE, "--gpu=t4", "--spot", "--model", "llama-3.1-8b-instruct", "--zone", "europe-west4-b", "--name", "spot"],
    "stop-nothing": ["stop"],
    "delete-nothing": ["delete"],
    "status-nothing": ["status"],
    "cleanup-nothing": ["cleanup"],
}
MADE = {
    "create-again": CREATE,
    "ssh": ["ssh"],
    "ssh-tunnel": ["ssh", "--", "-L", "8000:localhost:8000"],
    "key": ["key"],
    "firewall": ["firewall"],
    "firewall-source": ["firewall", "--source", "192.0.2.1,198.51.100.0/24"],
    "firewall-anyone": ["firewall", "--anyone"],
    "firewall-close-nothing": ["firewall", "--close"],
    "status": ["status"],
    "logs": ["logs"],
    "logs-some": ["logs", "--no-follow", "--lines", "5"],
    "logs-install": ["logs", "--install"],
    "logs-cloud": ["logs", "--cloud"],
    "gpu-log": ["gpu-log", "--seconds", "2"],
    "stop": ["stop"],
    "start-running": ["start"],
    "delete": ["delete"],
    "cleanup": ["cleanup"],
}


@pytest.mark.parametrize("name", EMPTY)
def test_each_verb_runs_these_commands_in_an_empty_project(cloud, name):
    golden(name, cloud.run(*EMPTY[name]))


@pytest.mark.parametrize("name", MADE)
def test_each_verb_runs_these_commands_after_create(running, name):
    golden(name, KEY.sub("sk-llamero-RANDOM", running.run(*MADE[name])))


@pytest.mark.parametrize("name", [*EMPTY, *MADE, "start-stopped"])
def test_dry_run_prints_every_command_and_runs_none(cloud, name):
    arguments = {**EMPTY, **MADE, "start-stopped": ["start"]}[name]
    text = cloud.run("--dry-run", *arguments, yes=False)
    assert cloud.calls == [] and not KEY.search(text)
    if "nothing" not in name and name not in ("create-again", "start-running"):
        golden(f"dry-run-{name}", text)


def test_help_names_every_verb_and_every_option_of_a_verb(cloud):
    text = cloud.run("--help", yes=False)
    verbs = re.search(r"^VERBS='(.*)'", SCRIPT.read_text(), re.M)[1].split()
    for verb in verbs:
        assert re.search(rf"^  {verb} ", text, re.M), verb
        shown = cloud.run(verb, "--help", yes=False)
        spec = re.search(rf"^        {verb}\) echo '(.*)' ;;", SCRIPT.read_text(), re.M)
        for option in spec[1].split() if spec else []:
            assert f"--{option.rstrip('=')}" in shown
    assert cloud.calls == []


@pytest.mark.parametrize("arguments", [
    [], ["fly"], ["create", "--wings"], ["--spot", "create"], ["create"], [*CREATE, "--gpu", "a100"], ["stop", "now"],
    [*CREATE, "--machine-type", "n1-standard-8"], [*CREATE, "--disk-gb", "many"], [*CREATE, "--model", "a,b=c"],
    ["create", "--repository"], ["status", "--name", "Bad_Name"], ["status", "--zone", "moon"], ["logs", "--lines", "-1"],
    ["gpu-log", "--seconds", "0"], ["firewall", "--source", "here"], ["stop", "--", "x"], ["--yes=1", "stop"], ["-x", "stop"],
])  # fmt: skip
def test_a_wrong_command_line_gets_exit_code_64_and_changes_nothing(cloud, arguments):
    text = cloud.run(*arguments, yes=False, status=64)
    assert cloud.changes() == []
    assert not arguments or len([line for line in text.splitlines() if not line.startswith("+ ")]) == 1


def test_the_project_and_the_zone_come_from_gclouds_configuration_at_last(cloud):
    cloud.keep(config={"project": "configured", "compute/zone": "europe-west4-a"})
    cloud.run("status", LLAMERO_GCP_PROJECT="")
    assert "--project=configured" in cloud.calls[-1]["argv"] and "--zones=europe-west4-a" in cloud.calls[-1]["argv"]
    cloud.run("status", "--project=p", "--zone", "us-east1-b", LLAMERO_GCP_ZONE="us-west1-a")
    assert "--project=p" in cloud.calls[-1]["argv"] and "--zones=us-east1-b" in cloud.calls[-1]["argv"]
    cloud.keep(config={})
    cloud.run("status", LLAMERO_GCP_PROJECT="", status=64)


def test_create_and_start_refuse_without_a_terminal_and_without_yes(cloud):
    text = cloud.run(*CREATE, yes=False, status=64)
    assert "--yes" in text and cloud.changes() == []
    cloud.run(*CREATE)
    cloud.run("stop")
    for verb in ("start", "delete", "cleanup"):
        assert "--yes" in cloud.run(verb, yes=False, status=64)
        assert cloud.changes() == []


@pytest.mark.parametrize("answer, status", [("n", 1), ("", 1), ("y", 0)])
def test_create_asks_on_a_terminal_and_obeys_the_answer(cloud, answer, status):
    master, slave = os.openpty()
    try:
        os.write(master, f"{answer}\n".encode())
        text = cloud.run(*CREATE, yes=False, status=status, stdin=slave)
    finally:
        os.close(master)
        os.close(slave)
    assert "Make them? [y/N]" in text and bool(cloud.changes()) == (status == 0)


@pytest.mark.parametrize("arguments", [CREATE, [*CREATE, "--gpu", "t4", "--spot"]])
def test_the_cost_is_printed_before_anything_is_made_or_started(cloud, arguments):
    text = cloud.run(*arguments)
    assert text.index("an hour, $") < text.index(shlex.join(cloud.changes()[0]))
    cloud.run("stop")
    text = cloud.run("start")
    golden("start-spot" if "--spot" in arguments else "start", text)
    assert text.index("an hour, $") < text.index(shlex.join(cloud.changes()[0]))


def test_the_key_is_random_and_is_in_no_argument_and_no_output(cloud, tmp_path):
    text = cloud.run(*CREATE)
    key = (tmp_path / "secret").read_text()
    assert KEY.fullmatch(key.strip()) and key.strip() not in text + json.dumps(cloud.calls)
    assert [call["stdin"] for call in cloud.calls if "add" in call["argv"]] == [True]
    assert key in cloud.run("key")
    cloud.run("cleanup")
    cloud.run(*CREATE)
    assert (tmp_path / "secret").read_text() != key


def test_an_interrupted_create_is_finished_by_the_next_one_with_the_same_key(cloud, tmp_path):
    cloud.keep(fails="instances create")
    assert "another --zone" in cloud.run(*CREATE, status=1)
    key = (tmp_path / "secret").read_text()
    cloud.keep(fails="")
    cloud.run(*CREATE)
    made = [argv[1:4] for argv in cloud.changes() if "create" in argv or "add" in argv]
    assert made == [["compute", "instances", "create"]] and (tmp_path / "secret").read_text() == key


def test_create_refuses_a_vm_of_another_kind_or_of_another_maker(running):
    assert "delete it first" in running.run(*CREATE, "--gpu", "t4", status=1)
    assert "delete it first" in running.run(*CREATE, "--spot", status=1)
    running.keep(things=[thing | {"labels": {}} for thing in running.now()["things"]])
    for verb in (CREATE, ["stop"], ["delete"], ["status"]):
        assert "did not make" in running.run(*verb, status=1)
        assert running.changes() == []


def test_a_failed_look_up_ends_the_program_before_it_changes_anything(cloud):
    cloud.keep(fails="instances list")
    for verb in (CREATE, ["delete"], ["cleanup"], ["stop"]):
        assert "nothing more was done" in cloud.run(*verb, status=1)
        assert cloud.changes() == []


def test_role_bindings_are_tried_again_because_new_accounts_are_unknown_for_a_while(cloud):
    cloud.keep(fails="add-iam-policy-binding")
    text = cloud.run(*CREATE, status=1)
    assert text.count("+ sleep 5") == 5 and text.count("projects add-iam-policy-binding") == 6


def test_stop_start_and_delete_do_nothing_the_second_time(running):
    for verb, said in (("stop", "already TERMINATED"), ("start", "already RUNNING"), ("delete", "no VM named")):
        running.run(verb)
        assert len(running.changes()) == 1
        assert said in running.run(verb)
        assert running.changes() == []


@pytest.mark.parametrize("source", ["0.0.0.0/0", "::/0", "0.0.0.0/1,128.0.0.0/1", "203.0.113.7,0.0.0.0/0", "1.2.3.4/0"])
def test_firewall_refuses_the_whole_internet_without_anyone(cloud, source):
    assert "--anyone" in cloud.run("firewall", "--source", source, status=64)
    assert cloud.changes() == []
    assert "no TLS" in cloud.run("firewall", "--source", source, "--anyone")
    assert len(cloud.changes()) == 1


def test_firewall_follows_the_callers_address(cloud):
    cloud.run("firewall")
    assert "--source-ranges=203.0.113.7/32" in cloud.changes()[0]
    assert "already lets" in cloud.run("firewall") and cloud.changes() == []
    cloud.keep(address="203.0.113.8")
    golden("firewall-changed", cloud.run("firewall"))
    assert [argv[3] for argv in cloud.changes()] == ["update"]
    cloud.run("firewall", "--close")
    assert [argv[3] for argv in cloud.changes()] == ["delete"]
    cloud.keep(address="<html>")
    assert "give --source" in cloud.run("firewall", status=1)


@pytest.mark.parametrize("keeps_disks", [False, True])
def test_cleanup_finds_and_removes_everything_that_was_made(running, keeps_disks):
    running.run("firewall")
    running.keep(keeps_disks=keeps_disks)
    things = running.now()["things"]
    text = running.run("cleanup")
    for thing in things:
        assert thing["name"] in text.partition("+ gcloud compute instances delete")[0], thing
    assert running.now()["things"] == [] and running.now()["bindings"] == []
    assert "There is nothing" in running.run("cleanup") and running.changes() == []


def test_cleanup_leaves_what_belongs_to_another_name(running):
    running.run(*CREATE, "--name", "llamero-two")
    running.run("firewall", "--name", "llamero-two")
    running.run("cleanup")
    left = running.now()["things"]
    assert {thing["kind"] for thing in left} == {"instances", "disks", "firewall-rules", "secrets", "accounts"}
    assert all("llamero-two" in thing["name"] for thing in left)


def test_gpu_log_writes_a_new_file_and_never_over_an_old_one(running):
    running.keep(ssh="timestamp, name")
    running.run("gpu-log", "--output", "gpu.csv")
    assert (running.home / "gpu.csv").read_text() == "timestamp, name\n"
    assert "exists already" in running.run("gpu-log", "--output", "gpu.csv", status=1)


def test_verbs_that_log_in_say_that_the_vm_does_not_run(running):
    running.run("stop")
    for verb in ("ssh", "logs", "gpu-log"):
        assert "llamero-gcp start" in running.run(verb, status=1)
    assert "state     TERMINATED" in running.run("status") and "ssh" not in running.transcript


def test_status_answers_when_ssh_fails(running):
    running.keep(fails="compute ssh")
    assert "not reachable by ssh" in running.run("status")


def test_shellcheck_has_nothing_to_say():
    beside = ROOT / "tests/clients/.venv/bin/shellcheck"
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("no shellcheck in tests/clients/.venv/bin or on the PATH")
    files = [str(SCRIPT), *map(str, sorted((DEPLOY / "lib").glob("*.sh"))), str(DEPLOY / "startup.sh")]
    done = subprocess.run([program, "-ax", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

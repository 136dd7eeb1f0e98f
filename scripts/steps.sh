# shellcheck shell=bash
# Steps of a test script, counted, and the programs and environments that tests need; sourced by scripts/test,
# scripts/test-agents and scripts/test-deploy after scripts/setup.sh.

passed=0 failed=0 skipped=0

# step NAME LIMIT COMMAND...: runs a command with a time limit; the summary counts it.
step() {
    local name=$1 limit=$2 status=0 begun=$SECONDS
    shift 2
    printf '\n=== %s\n' "$name"
    timeout --kill-after=30s "$limit" "$@" </dev/null || status=$?
    [ "$status" -ne 124 ] || printf 'stopped after its limit of %s\n' "$limit"
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        printf '=== %s: passed in %s s\n' "$name" $((SECONDS - begun))
    else
        failed=$((failed + 1))
        printf '=== %s: FAILED (exit %s) after %s s\n' "$name" "$status" $((SECONDS - begun))
        return 1
    fi
}

skip() {
    skipped=$((skipped + 1))
    printf '\n=== %s: SKIPPED: %s\n' "$1" "$2"
}

# conclude NAME: the line of counts; fails if a step has failed.
conclude() {
    printf '\n%s: %s passed, %s failed, %s skipped\n' "$1" "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ]
}

# python_environment FOLDER: FOLDER/.venv with what FOLDER/requirements.txt names; made anew when that changes.
python_environment() {
    local wanted=$1/requirements.txt made=$1/.venv
    ! cmp -s "$wanted" "$made/requirements.txt" || return 0
    rm -rf "$made"
    if ! python3 -m venv "$made"; then
        ! can_apt || apt_install "these tests run in a Python environment" python3-venv || true
        python3 -m venv "$made" || return 1
    fi
    "$made/bin/python" -m pip install --quiet --no-input -r "$wanted" </dev/null || return 1
    cp "$wanted" "$made/requirements.txt"
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# The proxies that the server is tested behind, Prometheus and Alertmanager, which read its metrics, and what reads its logs.
OTHER_PROGRAMS=(nginx haproxy prometheus prometheus-alertmanager lnav jq sqlite3)

# Installs these. Debian starts programs that it installs; these are started by their tests alone.
other_programs() {
    local policy=/usr/sbin/policy-rc.d program lacks=no
    for program in "${OTHER_PROGRAMS[@]}"; do
        PATH=$PATH:/usr/sbin have "$program" || lacks=yes
    done
    [ "$lacks" = yes ] || return 0
    can_apt || return 1
    if [ -e "$policy" ]; then
        apt_install "the server is tested with them" "${OTHER_PROGRAMS[@]}"
        return
    fi
    (
        trap 'as_root rm -f "$policy"' EXIT # After Ctrl-C too.
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy" &&
            apt_install "the server is tested with them" "${OTHER_PROGRAMS[@]}"
    )
}

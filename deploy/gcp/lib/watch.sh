# shellcheck shell=bash disable=SC2154
# Verbs that log in to the VM or read its logs: ssh, logs, gpu-log, key; sourced by llamero-gcp.

# vm_ssh ARGUMENT...: logs in through IAP, Google's proxy for ssh, so that the VM needs no port open to the internet.
vm_ssh() { run gcloud compute ssh "$NAME" --project="$PROJECT" --zone="$ZONE" --tunnel-through-iap "$@"; }

cmd_ssh() {
    need_running_vm
    if [ ${#EXTRA[@]} -gt 0 ]; then
        vm_ssh -- "${EXTRA[@]}"
    else
        vm_ssh
    fi
}

cmd_logs() {
    local follow=' -f'
    is_number "$OPT_lines" || usage_error "--lines takes a number, not: $OPT_lines"
    if [ "$OPT_cloud" = yes ]; then
        run gcloud logging read \
            "resource.type=\"gce_instance\" AND labels.\"compute.googleapis.com/resource_name\"=\"$NAME\"" \
            --project="$PROJECT" --limit="$OPT_lines" --order=desc --freshness=7d
        return
    fi
    need_running_vm
    if [ "$OPT_install" = yes ]; then
        vm tail-serial-port-output
        return
    fi
    [ "$OPT_no_follow" = no ] || follow=' --no-pager'
    vm_ssh --command="sudo journalctl -u llamero -n $OPT_lines$follow"
}

cmd_gpu_log() {
    local fields=timestamp,name,memory.used,memory.total,utilization.gpu,temperature.gpu,power.draw
    is_number "$OPT_seconds" && [ "$OPT_seconds" -gt 0 ] || usage_error "--seconds takes a number from 1, not: $OPT_seconds"
    if [ -n "$OPT_output" ] && [ -s "$OPT_output" ]; then
        die "$OPT_output exists already; give --output another name, so that no measurements are lost"
    fi
    need_running_vm
    if [ -z "$OPT_output" ]; then
        vm_ssh --command="nvidia-smi --query-gpu=$fields --format=csv -l $OPT_seconds"
    elif [ "$DRY_RUN" = yes ]; then
        printf '%s | %s\n' "$(vm_ssh --command="nvidia-smi --query-gpu=$fields --format=csv -l $OPT_seconds")" \
            "$(show tee -- "$OPT_output")"
    else
        vm_ssh --command="nvidia-smi --query-gpu=$fields --format=csv -l $OPT_seconds" | tee -- "$OPT_output"
    fi
}

cmd_key() { run gcloud secrets versions access latest --secret="$SECRET" --project="$PROJECT"; }

is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac; }

# shellcheck shell=bash disable=SC2154
# The VM: finds it, starts, stops and deletes it, and shows its state; sourced by llamero-gcp.

VM_FIELDS="status,machineType.basename(),guestAccelerators[0].acceleratorType.basename()"
VM_FIELDS="$VM_FIELDS,scheduling.provisioningModel,networkInterfaces[0].accessConfigs[0].natIP"
VM_FIELDS="csv[no-heading]($VM_FIELDS,disks[0].diskSizeGb,labels.app)"

# find_vm PLACEHOLDER: sets VM_STATE (empty if there is no VM), VM_MACHINE, VM_GPU, VM_MODEL (on_demand or spot),
# VM_ADDRESS and VM_DISK. Ends the program if the VM was made by something else.
find_vm() {
    local row='' owner=''
    look row "$1" gcloud compute instances list --project="$PROJECT" --zones="$ZONE" --filter="name=$NAME" \
        --format="$VM_FIELDS"
    IFS=, read -r VM_STATE VM_MACHINE VM_GPU VM_MODEL VM_ADDRESS VM_DISK owner <<<"$row"
    if [ "$DRY_RUN" = yes ]; then say "Dry run: the rest takes the state of the VM $NAME to be: ${VM_STATE:-absent}"; fi
    if [ -n "$VM_STATE" ] && [ "$owner" != llamero ]; then
        die "a VM named $NAME exists in $ZONE that llamero-gcp did not make: choose another --name"
    fi
    case $VM_MODEL in
        SPOT) VM_MODEL=spot ;;
        *) VM_MODEL=on_demand ;;
    esac
}

# A VM that is taken for granted with --dry-run, in the given state.
some_vm() { printf '%s,g2-standard-8,nvidia-l4,STANDARD,ADDRESS,100,llamero' "$1"; }

no_vm() { say "There is no VM named $NAME in $ZONE."; }

# need_running_vm: for the verbs that log in to the VM.
need_running_vm() {
    find_vm "$(some_vm RUNNING)"
    [ -n "$VM_STATE" ] || die "there is no VM named $NAME in $ZONE; make one with: llamero-gcp create"
    [ "$VM_STATE" = RUNNING ] || die "the VM $NAME is $VM_STATE, not RUNNING; start it with: llamero-gcp start"
}

# vm VERB OPTION...: a command on the VM itself.
vm() {
    local verb=$1
    shift
    run gcloud compute instances "$verb" "$NAME" --project="$PROJECT" --zone="$ZONE" "$@"
}

cmd_start() {
    find_vm "$(some_vm TERMINATED)"
    case $VM_STATE in
        '') die "there is no VM named $NAME in $ZONE; make one with: llamero-gcp create" ;;
        RUNNING | PROVISIONING | STAGING)
            say "The VM $NAME is already $VM_STATE."
            return 0
            ;;
    esac
    say_cost "$VM_MACHINE" "$VM_MODEL" "$VM_DISK"
    confirm "Start the VM $NAME?"
    vm start || die "the VM did not start. If the zone has no free GPU, try again later, or make a VM in another --zone"
    report "Started. Its address may have changed: llamero-gcp status"
}

cmd_stop() {
    find_vm "$(some_vm RUNNING)"
    case $VM_STATE in
        '') no_vm ;;
        TERMINATED | STOPPING | STOPPED) say "The VM $NAME is already $VM_STATE." ;;
        *)
            vm stop
            report "Stopped. Its disk of $VM_DISK GB still costs money; llamero-gcp delete removes both."
            ;;
    esac
}

cmd_delete() {
    find_vm "$(some_vm RUNNING)"
    if [ -z "$VM_STATE" ]; then
        no_vm
        return 0
    fi
    confirm "Delete the VM $NAME and its disk, with the models and logs on it?"
    vm delete --delete-disks=boot --quiet
    report "Deleted. The key, the service account and the firewall rules are still there: llamero-gcp cleanup removes them."
}

ask_readyz() { vm_ssh --command="curl -s -m 10 localhost:$PORT/readyz || echo no answer yet"; }

cmd_status() {
    find_vm "$(some_vm RUNNING)"
    if [ -z "$VM_STATE" ]; then
        no_vm
        return 0
    fi
    if [ "$DRY_RUN" = yes ]; then
        ask_readyz
        return 0
    fi
    printf 'name      %s (%s)\n' "$NAME" "$ZONE"
    printf 'state     %s\n' "$VM_STATE"
    printf 'machine   %s (%s)\n' "$VM_MACHINE" "${VM_MODEL/_/ }"
    printf 'GPU       %s\n' "${VM_GPU:-none}"
    printf 'address   %s\n' "${VM_ADDRESS:-none}"
    if [ "$VM_STATE" = RUNNING ]; then
        printf '/readyz   '
        # The VM runs and its server may not: that is an answer, not a failure of this command.
        ask_readyz || printf 'not reachable by ssh'
        printf '\n'
    fi
    say_cost "$VM_MACHINE" "$VM_MODEL" "$VM_DISK"
}

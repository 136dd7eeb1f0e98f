# shellcheck shell=bash disable=SC2154
# The verb create: makes the service account, the key, the rule for ssh and, last, the VM; sourced by llamero-gcp.
# Each step looks first, so that a create that was interrupted is finished by the next one.

# Google's range for ssh through IAP.
IAP_RANGE=35.235.240.0/20

# Checks the options of create and sets MACHINE, MODEL_OF_PRICE, ARCHITECTURE and GPU_OPTIONS.
check_create_options() {
    local value gpu
    case $OPT_gpu in
        l4) MACHINE=${OPT_machine_type:-g2-standard-8} ARCHITECTURE=89 GPU_OPTIONS=() ;;
        t4)
            MACHINE=${OPT_machine_type:-n1-standard-8} ARCHITECTURE=75
            # The binary is built for the VM's processor. N1 machines may get an older one at a later start without this.
            GPU_OPTIONS=("--accelerator=type=nvidia-tesla-t4,count=1" "--min-cpu-platform=Intel Skylake")
            ;;
        *) usage_error "--gpu takes l4 or t4, not: $OPT_gpu" ;;
    esac
    gpu=$(gpu_of "$MACHINE")
    [ "$gpu" = "$OPT_gpu" ] || usage_error "$MACHINE is no machine type for --gpu $OPT_gpu; llamero-gcp cost lists them"
    is_number "$OPT_disk_gb" && [ "$OPT_disk_gb" -ge 50 ] || usage_error "--disk-gb takes a number from 50, not: $OPT_disk_gb"
    OPT_repository=${OPT_repository:-${LLAMERO_GCP_REPOSITORY:-}}
    [ -n "$OPT_repository" ] ||
        usage_error "give --repository URL, from which the VM clones llamero, or set LLAMERO_GCP_REPOSITORY"
    for value in "$OPT_repository" "$OPT_ref" "$OPT_model" "$OPT_image_family" "$OPT_image_project"; do
        case $value in
            '' | -* | *[!A-Za-z0-9_./:@+%~-]*) usage_error "a value is empty or has characters that do not belong: '$value'" ;;
        esac
    done
    MODEL_OF_PRICE=on_demand
    [ "$OPT_spot" = no ] || MODEL_OF_PRICE=spot
}

# Ends the program if the VM is there already.
stop_if_vm_exists() {
    find_vm ''
    [ -n "$VM_STATE" ] || return 0
    if [ "$VM_MACHINE" != "$MACHINE" ] || [ "$VM_MODEL" != "$MODEL_OF_PRICE" ]; then
        die "the VM $NAME exists as $VM_MACHINE (${VM_MODEL/_/ }), not as $MACHINE (${MODEL_OF_PRICE/_/ }):" \
            "delete it first, or choose another --name"
    fi
    say "The VM $NAME exists already ($VM_MACHINE, ${VM_MODEL/_/ }, $VM_STATE). Nothing was changed."
    exit 0
}

# A service account of its own: the project's default account may be an editor of the whole project.
ensure_account() {
    local found='' role
    look found '' gcloud iam service-accounts list --project="$PROJECT" --filter="email=$ACCOUNT" --format='value(email)'
    if [ -z "$found" ]; then
        run gcloud iam service-accounts create "$ACCOUNT_ID" --project="$PROJECT" \
            --display-name="llamero $NAME" --description="$DESCRIPTION"
    fi
    for role in $PROJECT_ROLES; do
        run_patiently gcloud projects add-iam-policy-binding "$PROJECT" --member="serviceAccount:$ACCOUNT" \
            --role="$role" --condition=None --format=none
    done
}

# Stores a fresh random key. It goes to gcloud on standard input, so that no list of processes shows it.
add_key() {
    local command=(gcloud secrets versions add "$SECRET" --project="$PROJECT" --data-file=-) random
    if [ "$DRY_RUN" = yes ]; then
        run "${command[@]}"
        return 0
    fi
    random=$(od -An -N 24 -tx1 /dev/urandom | tr -d ' \n')
    [ ${#random} -eq 48 ] || die "/dev/urandom gave no random bytes"
    printf 'sk-llamero-%s\n' "$random" | run "${command[@]}"
}

ensure_secret() {
    local found='' states=''
    look found '' gcloud secrets list --project="$PROJECT" --filter="$LABEL_FILTER" --format='value(name.basename())'
    if [ -z "$found" ]; then
        run gcloud secrets create "$SECRET" --project="$PROJECT" --replication-policy=automatic --labels="$LABELS"
    fi
    look states '' gcloud secrets versions list "$SECRET" --project="$PROJECT" --format='value(state)'
    case $states in
        *[Ee][Nn][Aa][Bb][Ll][Ee][Dd]*) ;;
        *) add_key ;;
    esac
    run_patiently gcloud secrets add-iam-policy-binding "$SECRET" --project="$PROJECT" \
        --member="serviceAccount:$ACCOUNT" --role=roles/secretmanager.secretAccessor --format=none
}

make_vm() {
    local spot=() metadata
    [ "$OPT_spot" = no ] || spot=(--provisioning-model=SPOT --instance-termination-action=STOP)
    metadata="llamero-repository=$OPT_repository,llamero-ref=$OPT_ref,llamero-model=$OPT_model"
    metadata="$metadata,llamero-secret=$SECRET,llamero-cuda-architecture=$ARCHITECTURE"
    vm create --machine-type="$MACHINE" ${GPU_OPTIONS[@]+"${GPU_OPTIONS[@]}"} --maintenance-policy=TERMINATE \
        ${spot[@]+"${spot[@]}"} --image-family="$OPT_image_family" --image-project="$OPT_image_project" \
        --boot-disk-size="${OPT_disk_gb}GB" --boot-disk-type=pd-balanced --no-shielded-secure-boot \
        --labels="$LABELS" --tags="$TAG" --service-account="$ACCOUNT" --scopes=cloud-platform \
        --metadata="$metadata" --metadata-from-file="startup-script=$HERE/startup.sh" ||
        die "the VM was not made. Is the quota enough (llamero-gcp quota)? Has the zone a free GPU (try another --zone)?"
    run gcloud compute disks add-labels "$NAME" --project="$PROJECT" --zone="$ZONE" --labels="$LABELS"
}

cmd_create() {
    check_create_options
    stop_if_vm_exists
    say_cost "$MACHINE" "$MODEL_OF_PRICE" "$OPT_disk_gb"
    say "This makes, in the project $PROJECT: the VM $NAME in $ZONE with a disk, the service account $ACCOUNT_ID,"
    say "the secret $SECRET with a new key (about \$$(price secret-version on_demand) a month), and the firewall rule"
    say "llamero-$NAME-ssh for ssh through IAP. The other parts cost nothing."
    confirm "Make them?"
    ensure_account
    ensure_secret
    ensure_rule "llamero-$NAME-ssh" 22 "$IAP_RANGE"
    make_vm
    report "The VM now installs its driver, builds llamero and fetches $OPT_model. It restarts by itself meanwhile."
    report "  llamero-gcp logs --install                   follows this"
    report "  llamero-gcp ssh -- -L $PORT:localhost:$PORT    makes the server reachable as localhost:$PORT"
    report "  llamero-gcp key                              prints the key"
}

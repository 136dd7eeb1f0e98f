# shellcheck shell=bash disable=SC2154,SC2153
# The verb cleanup: lists everything that llamero-gcp made for one name, in all zones, and removes it; sourced by
# llamero-gcp. VMs, disks and secrets are found by label; firewall rules and the service account have no labels and are
# found by their description.

# Sets VMS and DISKS (lines of "name,zone"), RULES and SECRETS (lines of names) and ACCOUNTS (lines of addresses).
find_everything() {
    look VMS "$NAME,$ZONE" gcloud compute instances list --project="$PROJECT" --filter="$LABEL_FILTER" \
        --format='csv[no-heading](name,zone.basename())'
    find_disks
    look RULES "llamero-$NAME-ssh"$'\n'"llamero-$NAME-http" gcloud compute firewall-rules list --project="$PROJECT" \
        --filter="description=\"$DESCRIPTION\"" --format='value(name)'
    look SECRETS "$SECRET" gcloud secrets list --project="$PROJECT" --filter="$LABEL_FILTER" \
        --format='value(name.basename())'
    look ACCOUNTS "$ACCOUNT" gcloud iam service-accounts list --project="$PROJECT" \
        --filter="email=$ACCOUNT AND description=\"$DESCRIPTION\"" --format='value(email)'
}

find_disks() {
    look DISKS "$NAME,$ZONE" gcloud compute disks list --project="$PROJECT" --filter="$LABEL_FILTER" \
        --format='csv[no-heading](name,zone.basename())'
}

# list_found TITLE LINES
list_found() {
    local line
    while IFS= read -r line; do
        [ -z "$line" ] || printf '%-16s %s\n' "$1" "$line"
    done <<<"$2"
}

# remove_zonal KIND LINES: deletes VMs or disks, each in its zone.
remove_zonal() {
    local name zone
    while IFS=, read -r name zone <&4; do
        [ -z "$name" ] || run gcloud compute "$1" delete "$name" --project="$PROJECT" --zone="$zone" --quiet
    done 4<<<"$2"
}

# Takes the account's roles away first; the project would otherwise keep entries of a deleted account.
remove_accounts() {
    local account role roles=''
    while IFS= read -r account <&4; do
        [ -n "$account" ] || continue
        look roles "$PROJECT_ROLES" gcloud projects get-iam-policy "$PROJECT" --flatten='bindings[].members' \
            --filter="bindings.members=serviceAccount:$account" --format='value(bindings.role)'
        for role in $roles; do
            run gcloud projects remove-iam-policy-binding "$PROJECT" --member="serviceAccount:$account" \
                --role="$role" --condition=None --format=none
        done
        run gcloud iam service-accounts delete "$account" --project="$PROJECT" --quiet
    done 4<<<"$ACCOUNTS"
}

cmd_cleanup() {
    local name
    find_everything
    if [ -z "$VMS$DISKS$RULES$SECRETS$ACCOUNTS" ]; then
        say "There is nothing of llamero-gcp under the name $NAME in the project $PROJECT."
        return 0
    fi
    if [ "$DRY_RUN" = no ]; then
        list_found VM "$VMS"
        list_found disk "$DISKS"
        list_found 'firewall rule' "$RULES"
        list_found secret "$SECRETS"
        list_found 'service account' "$ACCOUNTS"
    fi
    confirm "Remove all of this?"
    remove_zonal instances "$VMS"
    # Most disks went with their VMs.
    find_disks
    remove_zonal disks "$DISKS"
    while IFS= read -r name <&4; do
        [ -z "$name" ] || run gcloud compute firewall-rules delete "$name" --project="$PROJECT" --quiet
    done 4<<<"$RULES"
    while IFS= read -r name <&4; do
        [ -z "$name" ] || run gcloud secrets delete "$name" --project="$PROJECT" --quiet
    done 4<<<"$SECRETS"
    remove_accounts
    report "Removed. Nothing of llamero-gcp under the name $NAME costs money any more."
}

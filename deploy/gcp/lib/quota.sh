# shellcheck shell=bash disable=SC2154
# The verb quota: shows the GPUs that the project may use; sourced by llamero-gcp.

QUOTA_FIELDS='csv[no-heading](quotas.metric,quotas.limit,quotas.usage)'

# quota_row METRIC PURPOSE ROWS: one line of the table.
quota_row() {
    printf '%s\n' "$3" | LC_ALL=C awk -F , -v metric="$1" -v purpose="$2" '
        $1 == metric { limit = $2; used = $3; found = 1 }
        END {
            verdict = !found ? "not listed" : limit - used >= 1 ? "enough for one VM" : "none left: ask for more"
            printf "%-28s %6s %6s  %-26s %s\n", metric, found ? limit + 0 : "?", found ? used + 0 : "?", purpose, verdict
        }'
}

cmd_quota() {
    local region_rows='' project_rows=''
    look region_rows '' gcloud compute regions describe "$REGION" --project="$PROJECT" --flatten='quotas[]' \
        --format="$QUOTA_FIELDS"
    look project_rows '' gcloud compute project-info describe --project="$PROJECT" --flatten='quotas[]' \
        --format="$QUOTA_FIELDS"
    [ "$DRY_RUN" = no ] || return 0
    printf '%-28s %6s %6s  %-26s %s\n' quota limit used purpose verdict
    quota_row NVIDIA_L4_GPUS "L4 in $REGION" "$region_rows"
    quota_row PREEMPTIBLE_NVIDIA_L4_GPUS "L4 spot in $REGION" "$region_rows"
    quota_row NVIDIA_T4_GPUS "T4 in $REGION" "$region_rows"
    quota_row PREEMPTIBLE_NVIDIA_T4_GPUS "T4 spot in $REGION" "$region_rows"
    quota_row GPUS_ALL_REGIONS "all GPUs of the project" "$project_rows"
    printf '\nA VM needs its own row and GPUS_ALL_REGIONS. Ask for more here; an answer can take days:\n'
    printf 'https://console.cloud.google.com/iam-admin/quotas?project=%s\n' "$PROJECT"
}

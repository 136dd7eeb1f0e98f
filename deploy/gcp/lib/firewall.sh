# shellcheck shell=bash disable=SC2154
# The verb firewall: lets addresses reach llamero's port; sourced by llamero-gcp.

# ensure_rule RULE PORT RANGES: makes a firewall rule for this VM, or corrects the ranges of the one that exists.
ensure_rule() {
    local row='' existing
    look row '' gcloud compute firewall-rules list --project="$PROJECT" --filter="name=$1" \
        --format='value(name,sourceRanges.list())'
    existing=${row#*$'\t'}
    if [ -z "$row" ]; then
        run gcloud compute firewall-rules create "$1" --project="$PROJECT" --network=default --direction=INGRESS \
            --allow="tcp:$2" --source-ranges="$3" --target-tags="$TAG" --description="$DESCRIPTION"
        report "Made the firewall rule $1: $3 may reach port $2."
    elif [ "$existing" = "$3" ]; then
        say "The firewall rule $1 already lets $3 reach port $2."
    else
        run gcloud compute firewall-rules update "$1" --project="$PROJECT" --source-ranges="$3"
        report "Changed the firewall rule $1: $3 may reach port $2, and no longer $existing."
    fi
}

# caller_address: sets SOURCE to the address from which this machine reaches the internet.
caller_address() {
    look SOURCE 203.0.113.1 curl -4 -fsS --max-time 10 https://checkip.amazonaws.com
    SOURCE=${SOURCE//[[:space:]]/}
    [[ $SOURCE =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] || die "checkip.amazonaws.com did not answer with an address: give --source"
    SOURCE=$SOURCE/32
}

# check_ranges RANGES: each is an address or a CIDR range; the widest ones need --anyone. Sets SOURCE.
check_ranges() {
    local range checked='' rest="$1,"
    while [ -n "$rest" ]; do
        range=${rest%%,*}
        rest=${rest#*,}
        if [[ $range =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]]; then
            range=$range/32
        elif [[ $range == *:* && $range != */* ]]; then
            range=$range/128
        fi
        [[ $range =~ ^([0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)/([0-9]{1,3})$ ]] ||
            usage_error "--source takes addresses or ranges such as 203.0.113.7 or 203.0.113.0/24, not: $range"
        if [ "${BASH_REMATCH[2]}" -lt 8 ] && [ "$OPT_anyone" = no ]; then
            usage_error "$range is much of the internet: give --anyone if you mean that"
        fi
        checked=$checked,$range
    done
    SOURCE=${checked#,}
}

warn_anyone() {
    say "Warning: anyone on the internet can then reach the server at port $PORT. Only its key protects it. The connection"
    say "has no TLS, so a reader of the traffic sees the key, the prompts and the answers."
}

cmd_firewall() {
    local rule=llamero-$NAME-http row=''
    if [ "$OPT_close" = yes ]; then
        look row "$rule" gcloud compute firewall-rules list --project="$PROJECT" --filter="name=$rule" --format='value(name)'
        if [ -z "$row" ]; then
            say "There is no firewall rule $rule."
        else
            run gcloud compute firewall-rules delete "$rule" --project="$PROJECT" --quiet
            report "Removed the firewall rule $rule."
        fi
        return 0
    fi
    if [ -n "$OPT_source" ]; then
        check_ranges "$OPT_source"
    elif [ "$OPT_anyone" = yes ]; then
        SOURCE=0.0.0.0/0
    else
        caller_address
    fi
    say "Cost: a firewall rule is free. Traffic to the internet costs about \$$(price traffic-to-internet on_demand) a GB."
    if [ "$OPT_anyone" = yes ]; then warn_anyone; fi
    ensure_rule "$rule" "$PORT" "$SOURCE"
    say "Without a rule, and encrypted: llamero-gcp ssh -- -L $PORT:localhost:$PORT"
}

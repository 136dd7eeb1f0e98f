# shellcheck shell=bash disable=SC2154
# Prices: reads prices.tsv and says what a VM costs; sourced by llamero-gcp.

PRICES=$HERE/prices.tsv
PRICES_PAGE=https://cloud.google.com/compute/all-pricing

prices_date() { sed -n 's/^# date: //p' "$PRICES"; }

# price ITEM on_demand|spot: dollars per unit; prints nothing for an unknown item.
price() {
    LC_ALL=C awk -F '\t' -v item="$1" -v model="$2" '$1 == item { print (model == "spot" ? $5 : $4) }' "$PRICES"
}

# gpu_of MACHINE: l4 or t4; prints nothing for a machine without a price.
gpu_of() { LC_ALL=C awk -F '\t' -v item="$1" '$1 == item && $2 != "-" { print tolower($2) }' "$PRICES"; }

# say_cost MACHINE on_demand|spot DISK_GB: the expected cost of a VM, running and stopped.
say_cost() {
    local machine hour address gigabyte
    machine=$(price "$1" "$2")
    hour=$machine
    address=$(price ipv4-address "$2")
    gigabyte=$(price pd-balanced "$2")
    if [ -z "$hour" ]; then
        say "Cost: prices.tsv has no price of $1. See $PRICES_PAGE"
        return 0
    fi
    LC_ALL=C awk -v machine="$1" -v model="${2/_/ }" -v hour="$hour" -v address="$address" -v gigabyte="$gigabyte" \
        -v disk="$3" -v date="$(prices_date)" -v page="$PRICES_PAGE" 'BEGIN {
        stopped = disk * gigabyte
        running = hour + address + stopped / 730
        printf "Expected cost of %s (%s), %d GB of disk:\n", machine, model, disk
        printf "  while it runs         about $%.2f an hour, $%.0f a month of 730 hours\n", running, running * 730
        printf "  while it is stopped   about $%.2f a month, for the disk\n", stopped
        printf "  (approximate us-central1 prices of %s, not checked since; check: %s)\n", date, page
    }' >&2
    case $ZONE in
        us-central1-*) ;;
        *) say "  Prices in $ZONE differ from these." ;;
    esac
}

cmd_cost() {
    LC_ALL=C awk -F '\t' '
        BEGIN {
            format = "%-16s %-4s %10s %10s %10s %10s\n"
            printf format, "machine", "GPU", "$/hour", "$/month", "spot/hour", "spot/month"
        }
        !/^#/ && $2 != "-" {
            printf format, $1, $2, sprintf("%.2f", $4), sprintf("%.0f", $4 * 730), sprintf("%.2f", $5), sprintf("%.0f", $5 * 730)
        }' "$PRICES"
    printf '\nThese cost extra:\n'
    LC_ALL=C awk -F '\t' '!/^#/ && $2 == "-" {
        spot = ($4 == $5) ? "" : " (spot: $" $5 ")"
        printf "  %-20s $%s a%s %s%s\n", $1, $4, ($3 == "hour" ? "n" : ""), $3, spot
    }' "$PRICES"
    printf '\nA month has 730 hours here. A stopped VM still pays for its disk (pd-balanced).\n'
    printf 'Approximate list prices in us-central1, written down from memory on %s and not checked since.\n' "$(prices_date)"
    printf 'Spot prices change up to once a day. Check: %s\n' "$PRICES_PAGE"
}

# shellcheck shell=bash
# Help texts, of the whole and of each verb; sourced by llamero-gcp.

help_all() {
    cat <<'END'
llamero-gcp: one VM with a GPU on Google Cloud that serves a model with llamero.

  llamero-gcp [OPTIONS] VERB [OPTIONS OF THE VERB]

  quota      shows the GPUs that the project may use
  cost       shows prices, by the hour and the month, on demand and spot
  create     makes the VM, its service account and its key
  ssh        logs in; ssh -- -L 8000:localhost:8000 makes the server reachable as localhost:8000
  key        prints the key of the server
  firewall   lets your address reach port 8000
  status     shows state, address, readiness and cost
  logs       follows the server's log
  gpu-log    writes the GPU's memory, load, temperature and power as CSV
  stop       stops the VM; its disk stays and costs money
  start      starts it again
  delete     deletes the VM and its disk
  cleanup    lists and removes everything that llamero-gcp made under this name

Options, before or after the verb:

  --project PROJECT   else LLAMERO_GCP_PROJECT, else the project of `gcloud config`
  --zone ZONE         else LLAMERO_GCP_ZONE, else the zone of `gcloud config`, else us-central1-a
  --name NAME         name of the VM, llamero by default
  --dry-run           prints every command, look-ups too, and runs none; look-ups get placeholders
  --yes               asks nothing
  --help              this text; after a verb: its options

Exit codes: 0 for success, 1 for a failure or a "no", 64 for a wrong command line.
END
}

# help_verb VERB
help_verb() {
    case $1 in
        quota) echo "llamero-gcp quota: shows limit and use of the quotas for L4 and T4, on demand and spot, in the zone's region." ;;
        cost) echo "llamero-gcp cost: shows approximate prices with their date, and where to check them." ;;
        create) help_create ;;
        ssh) help_ssh ;;
        key) echo "llamero-gcp key: prints the server's key from Secret Manager, as in: export OPENAI_API_KEY=\$(llamero-gcp key)" ;;
        firewall) help_firewall ;;
        status) echo "llamero-gcp status: shows state, machine, GPU, address, the answer of /readyz, and the cost." ;;
        logs) help_logs ;;
        gpu-log) help_gpu_log ;;
        stop) echo "llamero-gcp stop: stops the VM. Its disk stays and costs money. Does nothing if it is stopped or absent." ;;
        start) echo "llamero-gcp start: says the cost, asks, and starts the VM. Does nothing if it runs." ;;
        delete) echo "llamero-gcp delete: asks, then deletes the VM and its disk. Does nothing if there is none." ;;
        cleanup) echo "llamero-gcp cleanup: lists what llamero-gcp made under --name in all zones, asks, and removes it." ;;
    esac
}

help_create() {
    cat <<'END'
llamero-gcp create: says the cost, asks, and makes the VM. Does nothing if it exists.

  --gpu l4|t4              l4 by default
  --spot                   cheaper; Google may stop the VM at any time
  --model NAME             mistral-7b-instruct-v0.3 by default; `llamero models` lists names
  --machine-type TYPE      g2-standard-8 for the L4 and n1-standard-8 for the T4 by default; also g2-standard-4, n1-standard-4
  --disk-gb N              100 by default
  --repository URL         from which the VM clones llamero; required unless LLAMERO_GCP_REPOSITORY is set, because
                           llamero has no fixed public address yet
  --ref REF                branch, tag or commit; main by default
  --image-family FAMILY    debian-12 by default
  --image-project PROJECT  debian-cloud by default
END
}

help_ssh() {
    cat <<'END'
llamero-gcp ssh [-- ARGUMENTS OF SSH]: logs in through IAP, which needs no port open to the internet.

  llamero-gcp ssh -- -L 8000:localhost:8000    the server as localhost:8000, encrypted, for as long as this runs
END
}

help_firewall() {
    cat <<'END'
llamero-gcp firewall: lets addresses reach port 8000. Run it again when your address has changed.

  --source RANGE    address or CIDR range, several with commas; by default the address of this machine
  --anyone          allows ranges as wide as the whole internet; without --source it opens the port to all of it
  --close           removes the rule

The connection has no TLS. `llamero-gcp ssh -- -L 8000:localhost:8000` needs no rule and is encrypted.
END
}

help_logs() {
    cat <<'END'
llamero-gcp logs: follows the server's journal over ssh.

  --lines N      100 by default
  --no-follow    shows these lines and ends
  --install      follows the serial console instead: driver, build and installation
  --cloud        reads Cloud Logging instead, which also works when the VM is stopped; newest first
END
}

help_gpu_log() {
    cat <<'END'
llamero-gcp gpu-log: prints a line of CSV every few seconds until Ctrl-C.

  --seconds N      10 by default
  --output FILE    also writes the lines into a new file
END
}

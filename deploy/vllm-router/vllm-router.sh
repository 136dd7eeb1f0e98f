#!/bin/sh
# vllm-router before two llameros, in the foreground; README.md beside this file says why it is so and what it lacks.
#
# Written for vllm-router 0.1.17. Addresses come from variables:
#   ROUTER_REPLICAS      URLs of the replicas, with spaces between them
#   ROUTER_PORT          its port on ROUTER_HOST
#   ROUTER_METRICS_PORT  the port of its own metrics, on 127.0.0.1
#   ROUTER_PROGRAM       vllm-router itself, where it is not on the PATH
set -eu

ROUTER_REPLICAS=${ROUTER_REPLICAS:-http://127.0.0.1:8001 http://127.0.0.1:8002}

# One word for each URL.
# shellcheck disable=SC2086
set -- --worker-urls $ROUTER_REPLICAS

set -- "$@" --host "${ROUTER_HOST:-127.0.0.1}" --port "${ROUTER_PORT:-8000}"
set -- "$@" --prometheus-host 127.0.0.1 --prometheus-port "${ROUTER_METRICS_PORT:-29000}"

# A request goes to the replica that had the most similar prompt, unless that one has 8 requests more than the other and
# twice as many.
set -- "$@" --policy cache_aware --balance-abs-threshold 8 --balance-rel-threshold 2.0

# A replica that is not ready gets no new requests after 2 s. Give llamero --shutdown-delay 5s.
set -- "$@" --health-check-endpoint /readyz --health-check-interval-secs 1 --health-check-timeout-secs 2
set -- "$@" --health-failure-threshold 1 --health-success-threshold 1 --worker-startup-check-interval 1

# A request that fails before its answer begins is sent again, after 0.1, 0.2, 0.4, 0.8 and 1 s: longer than it takes to
# notice that a replica is dead. This repeats requests that were being computed when their replica died. Without circuit
# breakers, which count each 503 of a busy replica as a failure and would then refuse the requests of everybody.
set -- "$@" --disable-circuit-breaker --retry-max-retries 6 --retry-jitter-factor 0.1
set -- "$@" --retry-initial-backoff-ms 100 --retry-backoff-multiplier 2 --retry-max-backoff-ms 1000

# The whole time of a request, streams included. llamero refuses bodies of more than 2 MiB (--max-body-bytes) itself.
set -- "$@" --request-timeout-secs 3600 --max-payload-size 8388608

exec "${ROUTER_PROGRAM:-vllm-router}" "$@"

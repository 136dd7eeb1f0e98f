#!/usr/bin/env bash
# The health check of the images: succeeds if the server is ready, so if the model is loaded and requests are served.
#
# bash can speak TCP by itself. So no client such as curl has to be in the images, and be kept up to date there.
set -euo pipefail

exec 3<>"/dev/tcp/127.0.0.1/${LLAMERO_PORT:-8000}"
printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ]

#!/usr/bin/env bash
# Trains on several hosts that ssh reaches without a password, each with this checkout at the same path.
#
#   HOSTS="gpu1 gpu2" experiments/launch/ssh.sh --config configs/gan_mnist5k.py [...]
#
# The first host coordinates, at PORT (29500). PYTHON is what runs there, from the root of the checkout. Ctrl-C saves a
# checkpoint and stops all hosts. Status 0 only if all of them end with it.
set -euo pipefail

read -ra hosts <<< "${HOSTS:?names the hosts, the first of which coordinates}"
port=${PORT:-29500}
python=${PYTHON:-.venv/bin/python}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

pids=() keyboards=()
for i in "${!hosts[@]}"; do
  command=("$python" -m experiments.train "$@"
    --coordinator "${hosts[0]}:$port" --num_processes "${#hosts[@]}" --process_id "$i")
  # ssh hands one line to the shell there, so every word is quoted for it. -tt gives the training a terminal: it ends
  # when the connection does, and can be typed to.
  exec {keyboard}> >(exec ssh -tt -o BatchMode=yes "${hosts[i]}" \
    "cd $(printf '%q' "$root") && exec $(printf '%q ' "${command[@]}")")
  pids+=("$!") keyboards+=("$keyboard")
done

# shellcheck disable=SC2317 # called by the trap
stop() {
  for keyboard in "${keyboards[@]}"; do
    printf '\003' >&"$keyboard" || true # Ctrl-C; the host may be gone
  done
}
trap stop INT TERM

status=0
for pid in "${pids[@]}"; do
  until wait "$pid"; do
    code=$?
    kill -0 "$pid" 2> /dev/null || { status=$code; break; } # else a signal has ended the waiting, not the host
  done
done
exit "$status"

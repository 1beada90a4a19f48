#!/usr/bin/env bash
# Trains on several hosts that ssh reaches without a password, each with this checkout at the same path.
#
#   HOSTS="gpu1 gpu2" experiments/launch/ssh.sh --config configs/gan_mnist5k.py [...]
#
# The first host is the coordinator and listens on PORT (default 29500). Every host runs PYTHON from the root of
# the checkout. Ctrl-C saves a checkpoint and stops all hosts. The exit status is 0 only if that of every host is 0.
set -euo pipefail

read -ra hosts <<< "${HOSTS:?must be set, such as to "gpu1 gpu2"; the first host is the coordinator}"
port=${PORT:-29500}
python=${PYTHON:-.venv/bin/python}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

pids=() keyboards=()
for i in "${!hosts[@]}"; do
  command=("$python" -m experiments.train "$@"
    --coordinator "${hosts[0]}:$port" --num_processes "${#hosts[@]}" --process_id "$i")
  # ssh passes one line to the remote shell, so every word is quoted. -tt gives the training a terminal, so that it ends
  # with the connection and receives Ctrl-C.
  exec {keyboard}> >(exec ssh -tt -o BatchMode=yes "${hosts[i]}" \
    "cd $(printf '%q' "$root") && exec $(printf '%q ' "${command[@]}")")
  pids+=("$!") keyboards+=("$keyboard")
done

# shellcheck disable=SC2317 # the trap calls it
stop() {
  for keyboard in "${keyboards[@]}"; do
    printf '\003' >&"$keyboard" || true # Ctrl-C; the host may have disconnected
  done
}
trap stop INT TERM

status=0
for pid in "${pids[@]}"; do
  until wait "$pid"; do
    code=$?
    kill -0 "$pid" 2> /dev/null || { status=$code; break; } # otherwise a signal interrupted `wait`
  done
done
exit "$status"

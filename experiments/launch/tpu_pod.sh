#!/usr/bin/env bash
# Trains on all hosts of a TPU pod slice, each with this checkout at DIRECTORY.
#
#   TPU=name ZONE=us-central2-b experiments/launch/tpu_pod.sh --config configs/gan_fashion_mnist.py [...]
#
# JAX gets the ranks of the processes from the pod. Only process 0 stores checkpoints: to resume after the slice was
# preempted, use a --workdir on storage that outlives the slice.
set -euo pipefail

: "${TPU:?must be set to the name of the slice}" "${ZONE:?must be set to the zone of the slice}"
directory=${DIRECTORY:-genaug} # relative to the home directory on each host
command=("${PYTHON:-.venv/bin/python}" -m experiments.train --distributed "$@")

# gcloud passes one line to the shell of every host, so every word is quoted.
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker all \
  --command "cd $(printf '%q' "$directory") && exec $(printf '%q ' "${command[@]}")"

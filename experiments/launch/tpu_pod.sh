#!/usr/bin/env bash
# Trains on all hosts of a TPU pod slice, each with this checkout at DIRECTORY.
#
#   TPU=name ZONE=us-central2-b experiments/launch/tpu_pod.sh --config configs/gan_fashion_mnist.py [...]
#
# JAX learns from the pod who is who. Process 0 alone keeps checkpoints: to go on after the slice was taken away, name
# a --workdir that outlives it.
set -euo pipefail

: "${TPU:?names the slice}" "${ZONE:?is where it is}"
directory=${DIRECTORY:-genaug} # from the home directory there
command=("${PYTHON:-.venv/bin/python}" -m experiments.train --distributed "$@")

# gcloud hands one line to the shell of every host, so every word is quoted for it.
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker all \
  --command "cd $(printf '%q' "$directory") && exec $(printf '%q ' "${command[@]}")"

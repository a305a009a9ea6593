#!/usr/bin/env bash
# What waits for a GPU, the most wanted first: bash benchmarks/on_a_gpu.sh OUT [STEP ...]
#
# Each step leaves OUT/STEP.txt and says how long it took; without steps, all of them run. PYTHON is
# the one that has tfprune (default .venv/bin/python), PEER one that has PyTorch (default: none).
set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
PEER=${PEER:-}
out=$1
shift
mkdir -p "$out"
study() { "$PYTHON" run.py sparse_double_descent --preset=smoke --compilation_cache="$out/cache" "$@"; }

# The claims, where they are made of a GPU's numbers; resuming after kill -9.
tests() { "$PYTHON" -m pytest -q -n 4 --dist loadfile -m "gpu and not slow"; }

# Wanted: LeNet-300-100 at most 0.25 s; ResNet-18 at most 2.0 s, 1.2 s in bfloat16, ahead of PyTorch.
lenet() { "$PYTHON" -m benchmarks.epochs lenet_300_100 --epochs=6 --peer="$PEER" --folder="$out/epochs"; }
resnet18() { "$PYTHON" -m benchmarks.epochs resnet18 --peer="$PEER" --folder="$out/epochs"; }
# Wanted: LeNet-300-100, MNIST, 32 trainings in a stack: at most 20 ms of each an epoch.
stacks() { "$PYTHON" -m benchmarks --row=stacked_epoch --output="$out/stacks.json"; }
others() { "$PYTHON" -m benchmarks.epochs resnet20 vgg16 --peer="$PEER" --peer_mode=eager --folder="$out/epochs"; }

# LeNet again, no loop recorded: what command buffers are worth.
buffers() {
	XLA_FLAGS=--xla_gpu_enable_command_buffer=FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION \
		"$PYTHON" -m benchmarks.epochs lenet_300_100 --dtype=float32 --epochs=6 --peer= --folder="$out/no_loops"
}

# The first epoch of ResNet-18, then the same in a new process that finds it compiled.
compiled() {
	for turn in first second; do
		study --model=resnet18 --levels=0 --seeds=0 --train_epochs=2 --output_dir="$out/$turn"
		awk -F, '{print $1, $NF}' "$out/$turn"/trials/*/seed_0/level_00/metrics.csv
	done
}

# Eight trials, by 1, 4 and 8 processes that share the card.
workers() {
	local count started
	for count in 1 4 8; do
		started=$SECONDS
		study --seeds=0,1,2,3,4,5,6,7 --levels=2 --train_epochs=40 --workers=$count --output_dir="$out/workers$count"
		echo "$count workers: $((SECONDS - started)) s"
	done
}

# Two worker processes that have no card each: one line, and nothing trained.
refused() {
	TF_CONFIG='{"cluster": {"worker": ["localhost:29871", "localhost:29872"]}, "task": {"type": "worker", "index": 0}}' \
		timeout 60 "$PYTHON" run.py sparse_double_descent --preset=smoke --strategy=multi_worker --output_dir="$out/refused"
}

for name in "${@:-tests lenet stacks resnet18 buffers compiled workers refused others}"; do
	for step in $name; do
		started=$SECONDS
		"$step" >"$out/$step.txt" 2>&1
		echo "$step: exit code $?, $((SECONDS - started)) s"
	done
done

#!/bin/bash
# One study as an array of SLURM jobs; each trains a part of the trials.
# sbatch docs/clusters/slurm.sh --preset=quick --seeds=0-7
#SBATCH --job-name=tfprune
#SBATCH --array=0-3
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --requeue
# Two minutes before the time is over, so that the running epoch can end and be saved.
#SBATCH --signal=B:TERM@120

EXPERIMENT=${EXPERIMENT:-sparse_double_descent}
# A folder that every node sees.
OUTPUT_DIR=${OUTPUT_DIR:-$HOME/tfprune/$EXPERIMENT}

cd "${TFPRUNE:-${SLURM_SUBMIT_DIR:-.}}" || exit 2
python run.py "$EXPERIMENT" "$@" --output_dir="$OUTPUT_DIR" \
  --shard="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" &
study=$!
trap 'kill -TERM "$study"' TERM
wait "$study"
code=$?
# The signal ends the first wait, not the study.
while kill -0 "$study" 2>/dev/null; do
  wait "$study"
  code=$?
done

# 143: ended by the signal, saved, and not done.
if [ "$code" = 143 ] && command -v scontrol >/dev/null; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"

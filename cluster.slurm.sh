#!/bin/bash
# A sweep as one Slurm job, with head, workers and driver in it. docs/cluster.md is the guide.
#
#   sbatch cluster.slurm.sh search_spaces/quickstart.yaml [options of `raysweep sweep`]
#
# If the time was not enough, submit it again: the sweep continues. Change the lines below as you need.
#SBATCH --job-name=raysweep
#SBATCH --nodes=4 --ntasks-per-node=1 --cpus-per-task=8 --gpus-per-node=1
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120       # two minutes before the end: record the finished trials, and stop
source "${RAYSWEEP_VENV:-$HOME/venv}/bin/activate"
export RAYSWEEP_RESULTS="${RAYSWEEP_RESULTS:-${SCRATCH:-$HOME}/results}"    # on the shared disk

# Every request to this Ray must carry the token, which is in your home folder on all nodes.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
test -f ~/.ray/auth_token || (umask 077; ray get-auth-token --generate > /dev/null)
chmod 600 ~/.ray/auth_token

export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK    # Slurm 22.05 and later give a step one CPU otherwise
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -1)
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname -I | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 10000))      # two jobs may share a node
size="--num-cpus=$SLURM_CPUS_PER_TASK --temp-dir=/tmp/ray-$SLURM_JOB_ID --block"

srun --nodes=1 --ntasks=1 -w "$head" ray start --head --node-ip-address="$address" --port=$port \
    --dashboard-host=127.0.0.1 --include-dashboard=false $size &
until (: < "/dev/tcp/$address/$port") 2> /dev/null; do kill -0 $! || exit 1; sleep 1; done
others=$((SLURM_JOB_NUM_NODES - 1))
if [ $others -gt 0 ]; then
    srun --nodes=$others --ntasks=$others --exclude="$head" ray start --address="$address:$port" $size &
fi

raysweep sweep "$@" --address "$address:$port" &
driver=$!
trap 'kill -TERM $driver; wait $driver' TERM
wait $driver

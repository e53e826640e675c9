#!/bin/bash
# A training on one GPU of a cluster with Slurm: sbatch cluster_gpu.sh
#SBATCH --job-name=ge
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=02:00:00
#SBATCH --output=%x-%j.log

set -e
source "$HOME/nequip/bin/activate"      # the environment that has nequip-elemtransfer
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
export OMP_WAIT_POLICY=PASSIVE          # threads that wait for a core sleep

# what is wrong with the config ends the job here, in a minute and in one sentence
nequip-elemtransfer check -cp "$PWD/plan" -cn train device=cuda
srun nequip-train -cp "$PWD/plan" -cn train hydra.run.dir=ge device=cuda ++trainer.enable_progress_bar=false
# for LAMMPS on GPUs, compiled here, on a machine like those that will run it
nequip-deploy build --train-dir ge ge.nequip.pt2 --device cuda

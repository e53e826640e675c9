# From two files, a trained model and labelled structures of the target, to a model in LAMMPS. `make path` runs this.
nequip-elemtransfer inspect si.ckpt
nequip-elemtransfer plan si.ckpt ge.xyz --elements Ge=Si --out plan
nequip-elemtransfer check -cp "$PWD/plan" -cn train
nequip-train -cp "$PWD/plan" -cn train hydra.run.dir=ge
nequip-elemtransfer inspect ge --data ge_test.xyz --out look
nequip-deploy build --train-dir ge ge.nequip.pth
nequip-deploy info ge.nequip.pth

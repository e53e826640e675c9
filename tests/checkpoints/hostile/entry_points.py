"""Every way in which a command meets a model file, run in this process; each gives its exit code and what it said."""

import contextlib
import io
import shutil

from omegaconf import OmegaConf

from nequip_elemtransfer import cli
from nequip_elemtransfer.deploy import cli as deploy_cli
from nequip_elemtransfer.key.look_ups import look_up


def command(main, *argv):
    """Run a command's ``main``; what it raises is an uncaught error."""
    with contextlib.redirect_stderr(io.StringIO()) as error, contextlib.redirect_stdout(io.StringIO()):
        code = main([str(a) for a in argv])
    return code, error.getvalue()


def inspect(file, folder, data):
    return command(cli.main, "inspect", file)


def plan(file, folder, data):
    return command(cli.main, "plan", file, data, "--max-structures", 2)


def info(file, folder, data):
    """A deployed file's metadata; a checkpoint has not the ending of one."""
    renamed = folder / "renamed.nequip.zip"
    shutil.copy(file, renamed)
    return command(deploy_cli.main, "info", renamed)


def import_old(file, folder, data):
    """A model of today is none of NequIP 0.5 or 0.6."""
    return command(cli.main, "import", file, folder / "new.ckpt")


def build_torchscript(file, folder, data):
    return command(deploy_cli.main, "build", "--model", file, folder / "out.nequip.pth")


def build_package(file, folder, data):
    return command(deploy_cli.main, "build", "--model", file, folder / "out.nequip.zip")


def build_train_dir(file, folder, data):
    """Two checkpoints, so that both are read to find the best."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    for name in ("a.ckpt", "b.ckpt"):
        shutil.copy(file, run / name)
    return command(deploy_cli.main, "build", "--train-dir", run, folder / "out.nequip.pth")


def md(file, folder, data):
    renamed = folder / "renamed.nequip.pth"
    shutil.copy(file, renamed)
    arguments = ["--temperature", 300, "--steps", 1, "--trajectory", folder / "md.xyz"]
    return command(deploy_cli.main, "md", renamed, "diamond", *arguments)


def key(file, folder, data):
    """``element_transfer.source`` of a config of ``nequip-train``."""
    return looked_up({"source": str(file), "elements": {"Si": "Si"}, "energy_scale": "none"}, data)


def restart(file, folder, data, **training_module):
    """``ckpt_path`` of a config with the key, and more in its training module."""
    transfer = {"source": "gone.ckpt", "elements": {"Si": "Si"}}
    return looked_up(transfer, data, ckpt_path=str(file), training_module=training_module)


def looked_up(transfer, data, **rest):
    config = {"element_transfer": transfer, "data": data_section(data), **rest}
    config["training_module"] = rest.get("training_module", {}) | {"model": "${element_transfer:model}"}
    try:
        look_up("model", OmegaConf.create(config))
    except ValueError as error:
        return 1, f"{error}\n"
    except SystemExit as error:
        return 1, f"{error.code}\n"
    return 0, ""


def data_section(data):
    """Of a config, without look-ups."""
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": 1,
        "train_file_path": str(data),
        "val_file_path": str(data),
        "transforms": [
            {"_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper", "model_type_names": ["Si"]},
            {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": 4.0},
        ],
    }


ALL = [inspect, plan, info, build_torchscript, build_package, build_train_dir, md, key, restart]

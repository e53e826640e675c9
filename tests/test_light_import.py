"""What is imported when, and that the look-ups are known wherever NequIP is."""

import json
import subprocess
import sys
from importlib import import_module

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

SCRIPT = """
import json, sys
import nequip
from omegaconf import OmegaConf
loaded = sorted(name for name in sys.modules if name.split(".")[0] == "nequip_elemtransfer")
print(json.dumps([loaded, OmegaConf.has_resolver("element_transfer")]))
"""


def test_import_of_nequip_registers_the_look_ups_and_runs_nothing_else():
    """NequIP imports the package in every process (``init_always``), also in those that never use it."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, check=True)
    loaded, registered = json.loads(done.stdout.splitlines()[-1])
    assert loaded == ["nequip_elemtransfer"]
    assert registered is True


WITHOUT_NEQUIP = """
import sys
from nequip_elemtransfer import calculators, cli
from nequip_elemtransfer.calculators import worker
from nequip_elemtransfer.data import emt, stillinger_weber, xtb
from nequip_elemtransfer.deploy import cli
print(sorted({"nequip", "torch"} & {*sys.modules}))
import nequip
from omegaconf import OmegaConf
print(OmegaConf.has_resolver("element_transfer"))
"""


def test_commands_start_without_nequip():
    """Its import takes seconds, and `--help`, data sets and the processes of calculators do without."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", WITHOUT_NEQUIP], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "True"], done.stderr


def test_the_registered_look_up_answers():
    config = OmegaConf.create(
        {
            "element_transfer": {"source": "si.ckpt", "elements": {"Ge": "Si", "C": "Si"}},
            "types": "${element_transfer:type_names}",
            "wrong": "${element_transfer:typenames}",
        }
    )
    assert config.types == ["Ge", "C"]
    with pytest.raises(Exception, match="did you mean 'type_names'.*Choices: type_names, r_max, model"):
        _ = config.wrong


def test_what_a_file_names_is_imported_when_it_is_used():
    """``_target_: nequip_elemtransfer.ParameterGroups``, as Hydra finds it, and nothing by any other name."""
    import nequip_elemtransfer

    for name, module in nequip_elemtransfer.EXPORTS.items():
        found = get_object(f"nequip_elemtransfer.{name}")
        assert found is getattr(import_module(f"nequip_elemtransfer.{module}"), name)
    with pytest.raises(AttributeError, match="has no attribute 'ParameterGroup'"):
        _ = nequip_elemtransfer.ParameterGroup

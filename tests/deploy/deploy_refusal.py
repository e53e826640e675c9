"""How `nequip-deploy` refuses."""

from nequip_elemtransfer.deploy.cli import main


def refused(capsys, *argv):
    """The one sentence a command ends with."""
    assert main([str(a) for a in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nequip-deploy: ") and error.count("\n") == 1
    return error

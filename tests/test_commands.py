"""What both commands have: their version, and completion by a shell."""

import subprocess

import pytest

from nequip_elemtransfer import __version__, cli
from nequip_elemtransfer.deploy import cli as deploy_cli

BOTH = [("nequip-elemtransfer", cli.main), ("nequip-deploy", deploy_cli.main)]


@pytest.mark.parametrize(("name", "main"), BOTH)
def test_version(name, main, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"{name} {__version__}\n"


@pytest.mark.parametrize(
    ("name", "main", "line", "completed"),
    [
        (*BOTH[0], "nequip-elemtransfer che", "check"),
        (*BOTH[0], "nequip-elemtransfer plan --lattice", "--lattice-ratio"),
        (*BOTH[0], "nequip-elemtransfer study re", "report"),
        (*BOTH[1], "nequip-deploy build --target pair_a", "pair_allegro"),
    ],
)
def test_bash_completes(name, main, line, completed, capsys, tmp_path):
    """As bash does: it calls the function that the script declares for the command."""
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as stop:
        main(["--print-completion", "bash"])
    assert stop.value.code == 0
    (tmp_path / "completion.sh").write_text(capsys.readouterr().out)
    words = line.split()
    script = f"""
source completion.sh
COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE="{line}"; COMP_POINT={len(line)}
function=$(complete -p {name} | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
$function {name} {words[-1]} {words[-2]}
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert completed in done.stdout.split(), done.stderr


def test_a_shell_that_nobody_knows(capsys):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as stop:
        cli.main(["--print-completion", "ksh"])
    assert stop.value.code == 2 and "--print-completion knows bash, " in capsys.readouterr().err

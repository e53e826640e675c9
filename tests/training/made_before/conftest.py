"""What users had made before, each test module in a copy of its own."""

import shutil
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"
MADE_IN = "/tmp/fixture"  # as make_fixtures.py says
TEXTS = (".yaml", ".json")


@pytest.fixture(scope="module")
def made_before(tmp_path_factory):
    """A folder with all fixtures, in which paths of the folder where they were made are its own."""
    folder = tmp_path_factory.mktemp("made_before") / "copy"
    shutil.copytree(FIXTURES, folder)
    for path in folder.rglob("*"):
        if path.suffix in TEXTS:
            path.write_text(path.read_text(encoding="utf-8").replace(MADE_IN, str(folder)), encoding="utf-8")
    return folder

"""A folder with a record, and the command in it."""

from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.cli.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def signoff(tmp_path: Path) -> Command:
    return Command(tmp_path)

"""The command on folders that truly cannot be written, and on disks that are truly full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command_lines import Run

MOUNTS = """
mount --bind fixed fixed && mount -o remount,ro,bind fixed && mount -t tmpfs -o size=64k tmpfs full
cp -r shop full/shop && head -c 30000 /dev/zero > full/much && exec "$0" -c "$1"
"""
ASKED = """
import sys
from recsys.cli import main
for line in sys.stdin:
    sys.stderr.write(f"{main(line.split())}\\n")
"""
LINES = """\
update fixed/shop new.csv --quiet
update fixed/shop --watch fixed --once --every 0.01
forget fixed/shop ann --erase
rollback fixed/shop 1
update full/shop new.csv --quiet
forget full/shop ann --erase
verify fixed/shop
verify full/shop
"""
FIXED = "fixed cannot be written (Read-only file system); change its rights, or choose another fol"
FULL = "no room on the disk of full/shop (No space left on device); it is as it was, at v000001"


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_and_a_full_disk(run: Run) -> None:
    shutil.copytree("shop", "fixed/shop")
    shutil.copy("new.csv", "fixed")
    Path("full").mkdir()
    command = ["unshare", "--mount", "sh", "-ec"]
    if shutil.which("unshare") is None or subprocess.call([*command, MOUNTS, "true", ""]):
        pytest.skip("mounts need Linux and its root")
    done = subprocess.run(
        [*command, MOUNTS, sys.executable, ASKED],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        input=LINES,
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stderr.splitlines()
    assert done.stdout.splitlines() == ["fixed/shop is whole", "full/shop is whole"]
    assert said[1::2][:6] == ["1"] * 6
    assert said[12:] == ["0", "0"]
    for line, message in zip(said[:12:2], [FIXED] * 4 + [FULL] * 2, strict=True):
        assert message in line

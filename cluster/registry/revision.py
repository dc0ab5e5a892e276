"""Which code is running."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGE = "heliotrope"
TIMEOUT_S = 10.0


def code_revision(file: Path = Path(__file__)) -> str:
    """Return git's revision, with `-dirty` where tracked files differ from it; the package's version without git.

    Parameters
    ----------
    file
        A source file. Where git does not track it, for instance in an installed package inside somebody's
        repository, that repository's revision says nothing about it.
    """
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return version(PACKAGE)
    described = _git(file.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return described or version(PACKAGE)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints; None where there is no git or it fails."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603 - fixed words
    return done.stdout.strip() if done.returncode == 0 else None

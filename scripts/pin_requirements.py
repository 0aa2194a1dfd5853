"""Write `requirements-dev.txt` from `pyproject.toml`: every version pinned, every file of each release hashed.

Invariant: the result names packages and hashes only. No index address and no path gets in, whatever the pip
configuration of the machine says, because the file must work wherever pip works.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "requirements-dev.txt"
HEAD = """\
# Everything that building, linting and testing need, for Python 3.11 and newer.
# Written by `make pins` from pyproject.toml; do not edit.
"""
EDITABLE = "editables>=0.5"
"""What hatchling asks for when it builds an editable wheel; pip would fetch it unpinned into a build of its own."""
LINE = re.compile(r"(?:[A-Za-z0-9._-]+==\S+(?: ; [^\\]+)?(?: \\)?|    --hash=sha256:[0-9a-f]{64}(?: \\)?|#.*|)")


def wanted(project: dict[str, Any]) -> list[str]:
    """The requirements of building, running and developing."""
    return [
        *project["build-system"]["requires"],
        EDITABLE,
        *project["project"]["dependencies"],
        *(each for extra in project["project"]["optional-dependencies"].values() for each in extra),
        *group(project["dependency-groups"], "dev"),
    ]


def group(groups: dict[str, list[Any]], name: str) -> Iterator[str]:
    for item in groups[name]:
        if isinstance(item, str):
            yield item
        else:
            yield from group(groups, item["include-group"])


def compiled(requirements: list[str]) -> str:
    """The pins that pip-tools resolves, without this machine's pip configuration."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_") or key == "PIP_CERT"}
    environment["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "wanted.in", Path(folder) / "pinned.txt"
        source.write_text("\n".join(requirements) + "\n")
        options = "--generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links"
        more = "--strip-extras --allow-unsafe --no-header --no-annotate --quiet"
        tool = [sys.executable, "-m", "piptools", "compile", *options.split(), *more.split()]
        subprocess.run([*tool, "-o", str(result), str(source)], check=True, env=environment, cwd=folder)
        return result.read_text()


def main() -> None:
    text = compiled(wanted(tomllib.loads((ROOT / "pyproject.toml").read_text())))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    strange = [line for line in lines if not LINE.fullmatch(line)]
    if strange:
        sys.exit("these lines hold more than names and hashes:\n" + "\n".join(strange))
    TARGET.write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

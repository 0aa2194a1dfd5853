"""Which folder is meant: the one named, or the node's folder found from the current directory upwards, as git does.

Invariant: what comes out is an absolute path that really holds a `.meerkat`; a folder that is no node is a fault with
exit code 3, because then certainly no node runs for it.
"""

from collections.abc import Sequence
from pathlib import Path

from meerkat.cli.show import homely, typed
from meerkat.model.fault import Exit, Fault
from meerkat.model.path import MARKER, ROOT, PathFault, RelPath, parse_path


def find_folder(given: str | None, start: Path | None = None) -> Path:
    """The node's folder.

    Raises:
        Fault: `not_a_node` (3), when `given` is no node's folder or no folder above the current one is.
    """
    here = (start or Path.cwd()).absolute()
    if given is not None:
        folder = (here / Path(given).expanduser()).resolve()
        if is_node(folder):
            return folder
        raise Fault(
            "not_a_node",
            f"{homely(str(folder))} is not the folder of a node",
            hint=f"make it one with: meerkat up {typed(str(folder))}",
            exit_code=Exit.NOT_RUNNING,
        )
    found = find_above(here)
    if found is not None:
        return found
    raise Fault(
        "not_a_node",
        f"neither {homely(str(here))} nor a folder above it belongs to a node",
        hint="name the folder, or make one with: meerkat up DIR",
        exit_code=Exit.NOT_RUNNING,
    )


def find_above(here: Path) -> Path | None:
    """The nearest folder at or above `here` that is a node's."""
    here = here.resolve()
    return next((folder for folder in (here, *here.parents) if is_node(folder)), None)


def is_node(folder: Path) -> bool:
    try:
        return (folder / MARKER).is_dir()
    except OSError:
        return False


def folder_to_start(given: str | None) -> str:
    """Where `up` and `join` put a node: the folder named, else the node's folder at or above, else this one."""
    here = Path.cwd()
    if given is not None:
        return str((here / Path(given).expanduser()).absolute())
    return str(find_above(here) or here.absolute())


def split_folder(arguments: Sequence[str]) -> tuple[Path, tuple[RelPath, ...]]:
    """`[DIR] [PATH…]`: the first argument is the folder when it is a node's, all others are paths in it.

    A relative path counts from the current directory when that lies in the folder, else from the folder. Where neither
    says which folder is meant, the first path does, and all count from the current directory. No path means the whole
    folder, and so does the folder itself among the paths.

    Raises:
        Fault: no folder (3), or a path outside it (2).
    """
    here = Path.cwd()
    first = here / Path(arguments[0]).expanduser() if arguments else here
    if arguments and is_node(first):
        folder = find_folder(arguments[0])
        rest = list(arguments[1:])
    elif find_above(here) is None and (found := find_above(first.parent)) is not None:
        folder = found
        rest = [str(here / Path(text).expanduser()) for text in arguments]
    else:
        folder = find_folder(None)
        rest = list(arguments)
    paths = tuple(path_in(folder, text, here) for text in rest)
    return folder, () if ROOT in paths else paths


def path_in(folder: Path, text: str, here: Path) -> RelPath:
    """`text`, as a person wrote it standing `here`, as a path below `folder`."""
    here = here.resolve()
    start = here if here.is_relative_to(folder) else folder
    # The last name is not resolved: a link in the folder is itself the thing that is meant, not what it points to.
    whole = start / Path(text).expanduser()
    whole = whole.resolve() if whole.name in ("", "..") else whole.parent.resolve() / whole.name
    if not whole.is_relative_to(folder):
        raise Fault(
            "outside",
            f"{homely(str(whole))} is outside {homely(str(folder))}",
            hint="name a path in the shared folder",
            exit_code=Exit.USAGE,
        )
    spelt = whole.relative_to(folder).as_posix()
    if spelt == ".":
        return ROOT
    try:
        return parse_path(spelt)
    except PathFault as fault:
        raise Fault("bad_path", f'"{text}" cannot be shared: {fault}', exit_code=Exit.USAGE) from None

"""What callers of the control service hand over, taken apart: each wrong value is a usage fault that names it."""

from meerkat.model.fault import Exit, Fault
from meerkat.model.path import PathFault, RelPath, parse_path

Json = dict[str, object]


def text(arguments: Json, key: str) -> str:
    value = arguments.get(key)
    if not isinstance(value, str):
        raise Fault("usage", f"{key} must be a string", exit_code=Exit.USAGE)
    return value


def number(arguments: Json, key: str, default: float) -> float:
    value = arguments.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Fault("usage", f"{key} must be a number", exit_code=Exit.USAGE)
    return value


def paths_in(arguments: Json) -> list[RelPath]:
    value = arguments.get("paths") or []
    if not isinstance(value, list):
        raise Fault("usage", "paths must be a list", exit_code=Exit.USAGE)
    try:
        return [parse_path(str(each).rstrip("/")) for each in value]
    except PathFault as fault:
        raise Fault("usage", f"that is not a path in the folder: {fault}", exit_code=Exit.USAGE) from None

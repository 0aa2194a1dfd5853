"""The last frame before the shell: every way in which a command can end becomes an exit code and at most three lines.

Invariant: a person never sees a traceback, and a program that passed `--json` never sees anything but JSON. What was
not expected is written to a log under the state directory, and the message says where.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from meerkat.cli.show import neutral, paint
from meerkat.model.fault import Exit, Fault
from meerkat.model.limits import LOG_BYTES_MAX


def wants_json(args: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether errors should be JSON; asked before parsing, because parsing itself can fail."""
    own = args[: args.index("--")] if "--" in args else args
    return "--json" in own or environment.get("MEERKAT_JSON", "").lower() in ("1", "true", "yes", "on")


def tell(fault: Fault, *, as_json: bool) -> None:
    """Print the fault on stderr."""
    if as_json:
        print(json.dumps({"error": fault.as_json()}), file=sys.stderr)
        return
    parts = [("error", fault.message, "red"), ("cause", fault.cause, "yellow"), ("hint", fault.hint, "cyan")]
    for word, text, colour in parts:
        if text:
            click.echo(f"{paint(word + ':', colour, sys.stderr)} {neutral(text)}", err=True, color=True)


def guard(command: Callable[[list[str]], object], args: list[str]) -> int:
    """Run `command(args)` and return the exit code, having told whatever went wrong."""
    as_json = wants_json(args, os.environ)
    try:
        result = command(args)
        sys.stdout.flush()
        return int(result) if isinstance(result, int) else Exit.DONE
    except Fault as fault:
        tell(fault, as_json=as_json)
        return fault.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "meerkat"
        hint = f"{path} --help"
        tell(Fault("usage", _one_line(error.format_message()), hint=hint, exit_code=Exit.USAGE), as_json=as_json)
        return Exit.USAGE
    except click.ClickException as error:
        tell(Fault("error", _one_line(error.format_message())), as_json=as_json)
        return Exit.ERROR
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _hush()
        return Exit.ERROR  # as click does it: not all was written, which matters to `pipefail` and to nobody else
    except Exception as error:
        log = write_crash(error)
        hint = f"the details are in {log}" if log else "the details could not be written to the log"
        tell(Fault("bug", f"meerkat met something it did not expect: {error!r}", hint=hint), as_json=as_json)
        return Exit.ERROR


def state_folder() -> Path:
    """Where this program keeps what belongs to no node: `$XDG_STATE_HOME/meerkat`."""
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return base / "meerkat"


def write_crash(error: BaseException) -> Path | None:
    """Append the traceback to `crash.log` and return its path; None when even that is not possible."""
    try:
        folder = state_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "crash.log"
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(folder / "crash.log.1")
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        text = "".join(traceback.format_exception(error))
        with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as log:
            log.write(f"--- {stamp} pid {os.getpid()}\n{text}")
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    return path


def _one_line(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _hush() -> None:
    """Let the interpreter's last flush go nowhere instead of complaining about the closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)

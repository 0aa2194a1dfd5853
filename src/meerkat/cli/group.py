"""click commands as this program wants them: imported on use, grouped in sections, each option with its variable.

Invariant: showing help or completing a word imports at most the one module of the command that is meant.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import click

ENVIRONMENT_PREFIX = "MEERKAT"


class Command(click.Command):
    """A command whose every option can come from `MEERKAT_<OPTION>`, whichever group it stands in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = {"auto_envvar_prefix": ENVIRONMENT_PREFIX, "help_option_names": ["-h", "--help"]}
        kwargs["context_settings"] = settings | (kwargs.get("context_settings") or {})
        super().__init__(*args, **kwargs)


class Lazy(NamedTuple):
    """Where a command lives, and what the overview says of it (so that the overview need not import it)."""

    section: str
    target: str
    help: str


class LazyGroup(click.Group):
    """A group that knows its commands by address and imports one when it is used."""

    def __init__(self, *args: Any, lazy: dict[str, Lazy], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.lazy.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in self.lazy and not ctx.resilient_parsing:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=list(self.lazy), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.lazy.items():
            sections.setdefault(entry.section, []).append((name, entry.help))
        width = max(len(name) for name in self.lazy)
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=entry.help) for name, entry in self.lazy.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


class DefaultGroup(click.Group):
    """A command that also has subcommands: `invite [DIR]` beside `invite list`.

    Whatever does not begin with the name of a subcommand goes to the default one. A folder of such a name can be
    given as `./list`.
    """

    def __init__(self, *args: Any, default: click.Command, **kwargs: Any) -> None:
        settings = {"auto_envvar_prefix": ENVIRONMENT_PREFIX, "help_option_names": ["-h", "--help"]}
        super().__init__(*args, context_settings=settings, **kwargs)
        self.default = default

    def _reordered(self, args: Sequence[str]) -> list[str]:
        """Flags may stand before the subcommand: `invite --json list` is `invite list --json`."""
        ahead = 0
        while ahead < len(args) and args[ahead] == "--json":
            ahead += 1
        if ahead < len(args) and args[ahead] in (*self.commands, self.default.name):
            return [args[ahead], *args[:ahead], *args[ahead + 1 :]]
        return [self.default.name or "", *args]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(arg in ctx.help_option_names for arg in args) and not any(arg in self.commands for arg in args):
            return super().parse_args(ctx, ["--help"])
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        return super().parse_args(ctx, self._reordered(args))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.default if cmd_name == self.default.name else super().get_command(ctx, cmd_name)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        plain = click.Context(self.default, info_name=ctx.info_name, parent=ctx.parent)
        self.default.format_help(plain, formatter)
        self.format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        return [*super().shell_complete(ctx, incomplete), *self.default.shell_complete(ctx, incomplete)]


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """`click.command` with this program's command class."""
    return click.command(name, cls=Command, **settings)

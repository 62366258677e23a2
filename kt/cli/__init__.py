"""The command line: each verb is a file here, loaded when it is called; a KtError becomes one line and an exit code."""

import errno
import gc
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from kt.errors import KtError, did_you_mean, in_users_code

NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""System errors of a path that the user gave; they are the user's to mend and no bug in kt."""

VERBS = (
    *(
        "run",
        "runs",
        "compare",
        "adapt",
        "new",
        "check",
        "advise",
        "show",
        "list",
        "predict",
        "explain",
        "drift",
        "serve",
    ),
    *("evaluate", "export", "report", "benchmark", "lr-find", "models", "promote", "rollback", "weights", "cache"),
    *("doctor", "completion"),
)


class _Verbs(click.Group):
    """Loads a verb's file only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*VERBS]  # not list(VERBS): once kt.cli.list is loaded, `list` here is that module

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"kt.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}. {did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of the output, such as `head`, has ended; click would call it a failure
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kt-transfer", prog_name="kt")
def cli() -> None:
    """Transfer learning that ships: from a folder of photos to a model on a phone and on a server.

    \b
    kt run recipes/apples.py                    train, measure, export, report
    kt run recipes/apples.py --data my_photos/  the same on your own pictures,
                                                one sub-folder a class
    kt predict saved_models/apples photo.jpg    ask the released model

    \b
    Exit codes: 0 done, 1 a bug in kt, 2 command line or recipe, 3 data,
    4 weights or network, 5 training, 6 nothing mobile was released,
    7 environment (package, disk, permission), 130 interrupted.
    """


def main() -> None:
    """Run the command line. Any failure becomes one line and an exit code."""
    _open_what_is_closed()
    code = _guarded()
    _drop_what_cannot_be_written()
    gc.freeze()  # otherwise Python's last garbage collection goes through all of TensorFlow, which takes a second
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Open closed standard streams, as after `kt ... >&-`: else the next opened file would get all that is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the end


def _drop_what_cannot_be_written() -> None:
    """Drop output that can't be written: on a full disk Python would retry at exit, print more and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _guarded() -> int:
    try:
        code = cli.main(prog_name="kt", standalone_mode=False)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        return _refused(error)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", code=130)
    except KtError as error:
        return _fail(str(error), code=error.exit_code)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(
                f"The disk is full ({error.filename or 'while writing'}); free some space and run again.", code=7
            )
        if error.errno in NOT_OURS and error.filename is not None:
            return _fail(f"{error.strerror}: {error.filename}", code=7)
        return _bug(error)
    except MemoryError:
        return _fail("Not enough memory; use a smaller image_size or batch_size.", code=7)
    except Exception as error:  # noqa: BLE001 - the last stop: no user should see a traceback unasked
        return _bug(error)
    return code if isinstance(code, int) else 0  # click gives the code of a verb's own `context.exit`


def _refused(error: click.ClickException) -> int:
    """Show an error of click, which may quote what was typed, with the usage above it, as click does."""
    from kt.base.names import printable

    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # its message is the help text
        error.show()
    else:
        context = error.ctx if isinstance(error, click.UsageError) else None
        click.UsageError(printable(error.format_message()), ctx=context).show()
    return error.exit_code


def _fail(text: str, *, code: int) -> int:
    from kt.base.console import fail  # here, because rich is slow to load

    fail(text)
    return code


def _bug(error: Exception) -> int:
    if os.environ.get("KT_TRACEBACK", "0") not in ("", "0"):
        raise error
    if theirs := in_users_code(error):
        return _fail(f"{theirs} (in your own code; KT_TRACEBACK=1 shows all of it)", code=2)
    text = " ".join(str(error).split())[:300]
    return _fail(f"{type(error).__name__}: {text} (this is a bug in kt; KT_TRACEBACK=1 shows where)", code=1)

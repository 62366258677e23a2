"""`kt completion`: shell completion."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script for completion of kt commands in your shell.

    \b
    bash  in ~/.bashrc: eval "$(kt completion bash)"
    zsh   in ~/.zshrc:  eval "$(kt completion zsh)"
    fish  once: kt completion fish > ~/.config/fish/completions/kt.fish
    """
    from kt.cli import cli

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(cli, {}, "kt", "_KT_COMPLETE").source())  # noqa: TID251 - a script of click's own, with tabs

"""How every command of zen-fast is read, and how it ends.

Mistakes end with their remedy, pipes and interrupts in peace.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from zen_fast.errors import ZenError

USER_MISTAKE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


class CommandParser(argparse.ArgumentParser):
    """A parser that knows the remedy where an option of several values took a positional one."""

    _given: tuple[str, ...] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the base class does it; what was given is kept for `error`."""
        self._given = tuple(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._given, namespace)

    def error(self, message: str) -> NoReturn:
        """As the base class does it, with the remedy."""
        positionals = {each.metavar for each in self._get_positional_actions()}
        # Where some are missing, argparse's message ends with ": MODEL, OUT".
        missing = [name for name in message.split(": ")[-1].split(", ") if name in positionals]
        if missing and self._takes_several(self._given):
            message += f"; put -- before {missing[0]} to end the values of the option before it"
        super().error(message)

    def _takes_several(self, given: Sequence[str]) -> bool:
        """Whether an option is given that takes as many values as there are."""
        options = (each for each in self._get_optional_actions() if each.nargs == "+")
        return any(name in given for option in options for name in option.option_strings)


def run_command(command: Callable[[], int]) -> int:
    """Run `command` and return its exit status; a ZenError becomes one line on stderr and 2.

    130 stands for an interrupt and 141 for a reader that went away, as a shell would report them.
    """
    try:
        status = command()
        sys.stdout.flush()
        return status
    except ZenError as error:
        print(f"zen-fast: error: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE

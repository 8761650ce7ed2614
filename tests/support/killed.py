"""Ends a process of its own at one of its file-system calls."""

import os
import sys
from collections.abc import Callable

CALLS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree", "ctypes.dlsym")


def killed_at(call: int, work: Callable[[], object]) -> bool:
    """Whether a process that does `work` was ended at that file-system call, counted from 0, before it was done."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = call

    def hook(event: str, _: object) -> None:
        nonlocal left
        if event in CALLS:
            left -= 1
            # Once only: where lines are counted, the end writes files itself.
            if left == -1:
                os._exit(9)

    sys.addaudithook(hook)
    try:
        work()
    finally:
        os._exit(0)

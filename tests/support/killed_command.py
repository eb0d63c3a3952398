"""A command that is to be killed: `python killed_command.py OUT N ARGUMENTS` stops before its N-th file operation.

Counted are the files and folders in `OUT` that are opened for writing, renamed or removed, from the first write of the
network on. `N` may be "count": nothing is killed, and the number of operations is the last line of standard output.
"""

import os
import signal
import sys
from pathlib import Path

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
INSIDE_A_FOLDER = {"os.remove", "os.rmdir"}  # `shutil.rmtree` names what it removes relative to an open folder


def main(out: Path, at: int | None, arguments: list[str]) -> int:
    from lddn_jax.__main__ import main as command

    done, trained = 0, False

    def watch(event: str, given: tuple) -> None:
        nonlocal done, trained
        if event == "open":
            path, mode, flags = given
            changes = any(c in mode for c in "wax+") if mode else bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            changes, path = event in CHANGES, given[0] if given else ""
        inside = event in INSIDE_A_FOLDER and given[1] >= 0
        if not changes or not isinstance(path, str | os.PathLike):
            return
        if not inside and not Path(path).absolute().is_relative_to(out):
            return
        trained = trained or "network.npz" in str(path)
        if trained:
            if done == at:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1

    sys.addaudithook(watch)
    code = command(arguments)
    print(done)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), None if sys.argv[2] == "count" else int(sys.argv[2]), sys.argv[3:]))

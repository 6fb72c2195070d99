"""A trial: textgen as in a container, without a home, a user name, a writable file system, and with one core.

Run it with ``python -m tests.trials.container [RUN]``, on Linux. It makes the closest thing to a container that the
machine allows to this user: with ``unshare`` a user without a name, and a file system that is read-only but for one
folder; otherwise only an environment without a home. The quota of one core is a file tree like that of cgroups, for
:data:`textgen.base.machine.ROOT`.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "recorded" / "gru-names"

#: A user and a group that no system has.
NOBODY = 54321

#: Makes all that is mounted read-only but for a folder, enters it, and gives up the user's name.
READ_ONLY = f"""
cd "$1"; shift
for place in $(cut -d" " -f2 /proc/self/mounts | sort -ur); do
  case $place in "$PWD"|/proc*|/sys*|/dev|/dev/*) ;; *) mount -o remount,bind,ro "$place" 2>/dev/null ;; esac
done
exec unshare --user --map-user={NOBODY} --map-group={NOBODY} "$@"
"""

#: Runs the command line under a quota of one core, after a look around.
INSIDE = """
import os, sys
from pathlib import Path
from textgen.base import machine
machine.ROOT = Path(sys.argv.pop(1))
assert machine.usable_cores() == 1
if sys.argv.pop(1) == "sealed":
    assert not os.path.isabs(os.path.expanduser("~"))
    try:
        Path("/tmp/textgen-trial").write_text("")
    except OSError:
        pass
    else:
        raise SystemExit("the file system is not read-only")
from textgen.__main__ import main
main()
"""


class Done(NamedTuple):
    """A command that has ended."""

    command: str
    code: int
    out: str
    err: str

    @property
    def is_clean(self) -> bool:
        """Whether it succeeded, and has no traceback and no warning on stderr."""
        return self.code == 0 and "Traceback" not in self.err and "arning" not in self.err


def write_quota(folder: Path, cores: float) -> None:
    """Write the files of a control group of version 2 with a quota of cores, as a container sees them."""
    for name, content in {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
        "sys/fs/cgroup/cpu.max": f"{int(cores * 100000)} 100000\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")


def can_seal() -> bool:
    """Whether this user may make a file system read-only, and have no name, in a process of its own."""
    try:
        command = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "unshare",
            "--user",
            f"--map-user={NOBODY}",
            "true",
        ]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run_inside(folder: Path, quota: Path, arguments: list[str], *, sealed: bool) -> Done:
    """Run the command line in the container; only ``folder`` can be written, and is the working directory."""
    path = ":".join(str(ROOT / part) for part in (".", "plugins", "exports"))
    variables = [f"PYTHONPATH={path}", "PATH=/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL=3"]
    if not sealed:
        variables.append("HOME=/nonexistent")
    state = "sealed" if sealed else "open"
    command = ["env", "-i", *variables, sys.executable, "-c", INSIDE, str(quota), state, *arguments]
    if sealed:
        mount = f"mount --bind {shlex.quote(str(folder))} {shlex.quote(str(folder))}\n"
        outside = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]
        command = [*outside, "sh", "-c", mount + READ_ONLY, "sh", str(folder), *command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return Done(" ".join(arguments), done.returncode, done.stdout, done.stderr)


def trial(run: Path, folder: Path, *evaluation: str) -> list[Done]:
    """Sample, export and evaluate a run in a container.

    Args:
        run: whose corpus needs no download, or is found by the options in ``evaluation``.
        folder: an empty folder.
        evaluation: options of ``textgen evaluate``.
    """
    sealed = can_seal()
    quota, work = folder / "quota", folder / "work"
    write_quota(quota, 1)
    work.mkdir()
    commands = [
        ["sample", str(run), "--seed", "1", "--num", "3"],
        ["sample", str(run), "--seed", "1", "--runtime", "numpy", "--stream"],
        ["export", "--onnx", str(run), "--out", "export"],
        ["sample", "export", "--seed", "1", "--num", "3"],
        ["evaluate", str(run), *evaluation],
        ["doctor"],
    ]
    done = [run_inside(work, quota, command, sealed=sealed) for command in commands]
    left = sorted(path.name for path in work.iterdir())
    return [*done, Done("the folder afterwards", 0 if left == ["export"] else 1, "", " ".join(left))]


def main() -> None:
    """Prints a line per command, and what went wrong; exits with 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, nargs="?", default=RECORDED)
    parser.add_argument("evaluation", nargs="*", help="options of textgen evaluate, after --")
    chosen = parser.parse_args()
    print("sealed: no name, read-only" if can_seal() else "not sealed: unshare is not permitted here")
    with tempfile.TemporaryDirectory() as folder:
        done = trial(chosen.run.resolve(), Path(folder), *chosen.evaluation)
    for each in done:
        print("ok  " if each.is_clean else "FAIL", each.command)
        if not each.is_clean:
            print(each.err, file=sys.stderr)
    sys.exit(not all(each.is_clean for each in done))


if __name__ == "__main__":
    main()

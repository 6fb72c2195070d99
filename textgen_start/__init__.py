"""The start of the command ``textgen``.

It is outside the package ``textgen``, since another project on PyPI has a package of that name: if both are installed,
each overwrites files of the other, and importing the package may fail before any of its own code runs.
"""

from __future__ import annotations

import sys

#: The name of this project's distribution, and of the other one's.
OURS, OTHER = "textgen-rnn", "textgen"

#: What to do if both are installed; README.md says how to install this one.
ADVICE = f"pip uninstall -y {OTHER} {OURS}, then install {OURS} again, from a clone of its repository: pip install ."


def main() -> None:
    """Runs the command line; says in one line if another package of the same name is in its way."""
    try:
        import textgen
        from textgen.base.version import __version__
        from textgen.cli import main as run

        is_mixed = textgen.__version__ != __version__
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:
        if not (found := mixed()):
            raise
        sys.exit(_complain(found))
    if is_mixed and (found := mixed()):
        sys.exit(_complain(found))
    run()


def mixed() -> str:
    """Says which other distribution has files in the package ``textgen``; empty if none has."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{OTHER} {version(OTHER)}"
    except PackageNotFoundError:
        return ""


def _complain(found: str) -> int:
    print(
        f"textgen: error: {found} is installed, another project whose files overwrite those of {OURS}; {ADVICE}",
        file=sys.stderr,
    )
    return 2

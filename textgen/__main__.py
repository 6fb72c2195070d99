"""``python -m textgen``: the command line, even if the script ``textgen`` is not on the path."""

from textgen_start import main

if __name__ == "__main__":
    main()

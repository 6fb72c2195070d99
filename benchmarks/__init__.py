"""Compares textgen with the alternatives that a user would choose, side by side in one run.

Each module answers one question and runs alone: ``python -m benchmarks.generation``. Every way of doing a job is a
:class:`benchmarks.harness.Contender` in its own process. Results are written as JSON below ``results/``, with a plot if
they contain charts; ``python -m benchmarks.report FILE`` prints their tables; ``python -m benchmarks.readme`` writes
them into README.md and docs/benchmarks.md.
"""

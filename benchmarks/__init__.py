"""How textgen compares with what a user would pick instead, measured side by side in one run.

A module a question, each runnable alone: ``python -m benchmarks.generation``. Every way of doing the job is a
:class:`benchmarks.harness.Contender` in a process of its own. Results are written as JSON below ``results/``, with a
plot where something grows; ``python -m benchmarks.report FILE`` prints their tables; ``python -m benchmarks.readme``
writes them into README.md and docs/benchmarks.md.
"""

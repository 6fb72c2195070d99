"""The README of a model repository: one page that travels with it."""

from __future__ import annotations

from typing import Any

from textgen import Manifest, describe_model


def readme(manifest: Manifest) -> str:
    """Markdown for people who find the folder: the model, its terms and quality, and how to serve it."""
    about: dict[str, Any] = manifest.export or {}
    models = about["models"]
    return f"""{describe_model(manifest)}
## Serve it

This folder is a model repository of NVIDIA's Triton Inference Server with three models for its ONNX Runtime backend.
docs/triton.md of textgen says which server has run such models. Check yours by `golden.safetensors`, which has requests
to the first two models, and the answers.

```
docker run --rm -p 8000:8000 -v "$PWD":/models IMAGE tritonserver --model-repository=/models
```

| model | reads and writes |
| --- | --- |
| `{models["step"]}` | reads ids, returns the logits after each; the state is passed |
| `{models["write"]}` | reads given ids, draws the others; the state is passed |
| `{models["sequence"]}` | the same; Triton keeps the state of each sequence |

The same page describes requests and answers, and has a client; `textgen.json` and `tokenizer.json` have all else that
one needs.
"""

"""Names by the batch, as a PyTorch user writes them: a loop of steps until every name of the batch has ended.

``python -m benchmarks.peers.pytorch_names RUN NUM OUT`` writes ``NUM`` lines to the file ``OUT``, with the weights of a
run of textgen whose model is one LSTM behind an embedding.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.peers.pytorch import Network

#: Names at once: of powers of two, this one was the fastest on two cores.
BATCH = 1024


def load(run: Path) -> Network:
    """The network of a run; its gates are in PyTorch's order already."""
    weights = load_file(run / "weights.safetensors")
    vocab_size, embedding_dim = weights["embedding"].shape
    units = len(weights["head.kernel"])
    network: Network = Network("lstm", vocab_size, embedding_dim, units, layers=1).eval()
    bias = weights["layers.0.bias"]
    network.load_state_dict(
        {
            "embedding.weight": weights["embedding"],
            "recurrent.weight_ih_l0": weights["layers.0.kernel"].T.contiguous(),
            "recurrent.weight_hh_l0": weights["layers.0.recurrent_kernel"].T.contiguous(),
            "recurrent.bias_ih_l0": bias,
            "recurrent.bias_hh_l0": torch.zeros_like(bias),
            "head.weight": weights["head.kernel"].T.contiguous(),
            "head.bias": weights["head.bias"],
        }
    )
    return network


@torch.inference_mode()
def write(run: Path, num: int, out: Path, batch: int = BATCH) -> None:
    """Write names, one per line."""
    about = json.loads((run / "textgen.json").read_text(encoding="utf-8"))
    characters = json.loads((run / "tokenizer.json").read_text(encoding="utf-8"))["characters"]
    generation, end = about["settings"]["generation"], about["end_id"]
    temperature = float(generation["sampler"].split("(")[1].split(")")[0])
    offset = end - len(characters)  # the first id pads
    starts = torch.zeros(about["vocab_size"])
    for token, count in about["first_ids"].items():
        starts[int(token)] = count
    network = load(run)
    with out.open("w", encoding="utf-8") as file:
        for first in range(0, num, batch):
            ids, state = torch.multinomial(starts, min(batch, num - first), replacement=True), None
            text, ended = [ids], torch.zeros(len(ids), dtype=torch.bool)
            for _ in range(generation["length"]):
                logits, state = network(ids, state)
                ids = torch.multinomial(torch.softmax(logits / temperature, dim=1), 1)[:, 0]
                text.append(ids)
                ended |= ids == end
                if ended.all():
                    break
            for row in torch.stack(text, dim=1).tolist():
                name = row[: row.index(end)] if end in row else row
                file.write("".join(characters[token - offset] for token in name if token >= offset) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

"""The trials of a search, and the file that has them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from textgen import quoted, write_atomically
from textgen.errors import ArtifactError, OptionError
from textgen_tune.space import Searched

#: The name of the file, and the number of its layout.
FILE, VERSION = "tune.json", 1


@dataclass(frozen=True)
class Trial:
    """A run with some options, judged.

    Attributes:
        number: of the trial, from 0.
        options: the values of the searched options, as ``--set`` takes them.
        loss: held-out, nats per character; ``None`` if it is not a number, as after training that diverged.
        seconds: that it took.
    """

    number: int
    options: Mapping[str, str]
    loss: float | None
    seconds: float

    @property
    def assignments(self) -> list[str]:
        """The options, as assignments."""
        return [f"{name}={value}" for name, value in self.options.items()]


class Search:
    """A search in a folder, which has a file of all trials, and the run of the best one.

    Args:
        folder: of the search; it is made with the first trial.
        about: what determines the losses, as values of JSON.
        space: the options that are searched.

    Raises:
        ArtifactError: if the file cannot be read.
        OptionError: if the folder has another search, or files.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], space: Sequence[Searched]) -> None:
        self.folder = folder
        self.trials: list[Trial] = []
        self._about = dict(about)
        self._space = {each.name: each.distribution() for each in space}
        self._read()

    @property
    def best(self) -> Trial | None:
        """The trial of the lowest loss, the first of equal ones."""
        judged = [trial for trial in self.trials if trial.loss is not None]
        return min(judged, key=lambda trial: (trial.loss, trial.number), default=None)

    def run(self, number: int) -> Path:
        """The folder of a trial's run."""
        return self.folder / f"run-{number:05}"

    def suggest(self, seed: int) -> dict[str, str]:
        """The options of the next trial: a function of the trials so far and the seed.

        They are drawn at random for the first ten, then by a tree-structured Parzen estimator (Bergstra et al., 2011).
        """
        import numpy as np
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        word = np.random.SeedSequence([seed, len(self.trials)]).generate_state(1)[0]
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=int(word)))
        for trial in self.trials:
            given = {name: _value(trial.options[name], kind) for name, kind in self._space.items()}
            state = optuna.trial.TrialState.FAIL if trial.loss is None else optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.trial.create_trial(params=given, distributions=self._space, value=trial.loss, state=state)
            )
        found = study.ask(self._space).params
        return {name: str(_rounded(found[name], kind)) for name, kind in self._space.items()}

    def add(self, trial: Trial) -> None:
        """Record a trial."""
        self.trials.append(trial)
        content = {"version": VERSION, "search": self._about, "trials": [asdict(each) for each in self.trials]}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _read(self) -> None:
        path = self.folder / FILE
        try:
            found = json.loads(path.read_bytes())
            about, trials = found["search"], [Trial(**each) for each in found["trials"]]
            version = found["version"]
        except (FileNotFoundError, NotADirectoryError):
            _check_free(self.folder)
            return
        except (OSError, ValueError, KeyError, TypeError):
            raise ArtifactError(f"{path} cannot be read; choose another --out, or delete {quoted(path)}") from None
        if version != VERSION:
            raise ArtifactError(f"{path} was written by a later textgen-rnn; use that, or choose another --out")
        for name, value in self._about.items():
            if about.get(name) != value:
                raise OptionError(
                    f"{path} is of another search: {name} is {about.get(name)} there, and {value} here; choose another "
                    "--out"
                )
        self.trials = trials


def _check_free(folder: Path) -> None:
    """Check that nothing is in a folder but runs of a search that was stopped before its first trial ended."""
    if folder.exists() and (not folder.is_dir() or any(not each.match("run-*") for each in folder.iterdir())):
        raise OptionError(f"{folder} exists and has no {FILE}; choose an empty or a new folder")


def _value(text: str, distribution: Any) -> Any:
    """A value of an option, as Optuna has it."""
    kinds: dict[str, type] = {"IntDistribution": int, "FloatDistribution": float}
    return kinds.get(type(distribution).__name__, str)(text)


def _rounded(value: Any, distribution: Any) -> Any:
    """A value with four digits, if it is a number that is not whole, within its range."""
    if not isinstance(value, float):
        return value
    return min(max(float(f"{value:.4g}"), distribution.low), distribution.high)


def finite(loss: float) -> float | None:
    """A loss, if it is a number."""
    return loss if math.isfinite(loss) else None

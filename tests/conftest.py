import os
from pathlib import Path

import pytest
from hypothesis import settings

# Machines are busy: no test fails for being slow.
settings.register_profile("textgen", deadline=None)
settings.load_profile("textgen")

# Before any test module imports TensorFlow: what it logs on a machine without a GPU would show in captured stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real corpora: TEXTGEN_DATA_DIR, by default ../shared/data."""
    folder = Path(os.environ.get("TEXTGEN_DATA_DIR") or ROOT.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        pytest.skip(f"the real corpora are not at {folder}; set TEXTGEN_DATA_DIR to the folder that has them")
    return folder

"""Trials: scripts that attack textgen for minutes. Short forms of them are tests in this folder."""

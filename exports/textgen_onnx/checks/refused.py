"""Why a graph may not be run. Importing this module does not import onnx."""


class Refused(Exception):
    """A graph may not be run; the message says why."""

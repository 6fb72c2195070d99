from textgen.model.model import Model

__all__ = ["Model"]

from textgen.plugins.registration import KINDS
from textgen.plugins.registry import Registry, plugins, use_plugins

__all__ = ["KINDS", "Registry", "plugins", "use_plugins"]

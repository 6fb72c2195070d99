from textgen.plugins.registration import KINDS
from textgen.plugins.registry import Plugins, plugins, use_plugins

__all__ = ["KINDS", "Plugins", "plugins", "use_plugins"]

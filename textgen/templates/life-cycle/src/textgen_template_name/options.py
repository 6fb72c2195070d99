"""The options of the plugin."""

from pydantic import Field

from textgen.options import Options


class TemplateNameOptions(Options):
    """Options of ``template-name``: ``--set plugins.template-name.folder=lines``."""

    folder: str = Field("template-name", description="Folder of the lines, a file for each run.")

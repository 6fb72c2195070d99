"""The corpus ``template-name``."""

from collections.abc import Iterator

from pydantic import Field

from textgen import Corpus, Layout, Provenance
from textgen.options import Options

BIRDS = """
albatross avocet bittern blackbird bullfinch bunting buzzard chaffinch chiffchaff chough coot cormorant crane curlew
dipper dove dunlin dunnock eagle egret falcon fieldfare firecrest gannet godwit goldcrest goldfinch goshawk grebe
greenfinch guillemot gull harrier hawfinch heron hobby hoopoe jackdaw kestrel kingfisher kittiwake knot lapwing linnet
magpie mallard martin merlin nightingale nightjar nuthatch oriole osprey ouzel owl partridge petrel pheasant pigeon
pipit plover puffin quail raven redpoll redshank redstart redwing robin rook ruff sanderling sandpiper shelduck shrike
siskin skua skylark snipe sparrow spoonbill starling stonechat stork swallow swan swift teal tern thrush treecreeper
turnstone twite wagtail warbler waxwing wheatear whimbrel whinchat woodcock woodpecker wren wryneck yellowhammer
"""


class TemplateNameOptions(Options):
    """Options of :class:`TemplateNameCorpus`."""

    shortest: int = Field(1, ge=1, le=11, description="Number of letters of the shortest names to use.")


class TemplateNameCorpus(Corpus):
    """Names of birds, one per document."""

    Options = TemplateNameOptions
    options: TemplateNameOptions

    @property
    def layout(self) -> Layout:
        return "documents"

    def documents(self) -> Iterator[str]:
        yield from (name for name in BIRDS.split() if len(name) >= self.options.shortest)

    def provenance(self) -> Provenance:
        return Provenance((), licence="CC0-1.0: a list of names")

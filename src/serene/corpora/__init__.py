"""What is on disk: one file per corpus, each `read(folder) -> Manifest`."""

from __future__ import annotations

CORPORA = {
    "emodb": "serene.corpora.emodb:read",
    "ravdess": "serene.corpora.ravdess:read",
    "crema_d": "serene.corpora.crema_d:read",
    "iemocap": "serene.corpora.iemocap:read",
    "msp_podcast": "serene.corpora.msp_podcast:read",
    "esd": "serene.corpora.esd:read",
    "voxceleb1": "serene.corpora.voxceleb1:read",
    "speechocean762": "serene.corpora.speechocean762:read",
    "table": "serene.corpora.table:read",
    "files": "serene.corpora.files:read",
    "webdataset": "serene.corpora.webdataset:read",
    "huggingface": "serene.corpora.huggingface:read",
    "sample": "serene.corpora.sample:read",
    "synthetic": "serene.corpora.synthetic:read",
}
OWN = frozenset({"table", "files", "webdataset", "huggingface"})  # readers of anybody's clips, which name no corpus

# The name of speakers whom nobody has identified, in corpora that have such. It may stand for anybody: for several
# people at once, and for those who are known by name elsewhere in the corpus.
UNKNOWN_SPEAKER = "Unknown"

"""What is on disk: one file per corpus, each `read(folder) -> Manifest`."""

from __future__ import annotations

CORPORA = {
    "emodb": "serene.corpora.emodb:read",
    "ravdess": "serene.corpora.ravdess:read",
    "crema_d": "serene.corpora.crema_d:read",
    "iemocap": "serene.corpora.iemocap:read",
    "esd": "serene.corpora.esd:read",
    "voxceleb1": "serene.corpora.voxceleb1:read",
    "speechocean762": "serene.corpora.speechocean762:read",
    "table": "serene.corpora.table:read",
    "synthetic": "serene.corpora.synthetic:read",
}

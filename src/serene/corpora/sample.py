"""The sample of real speech that comes with the package: 288 clips of CREMA-D, 24 speakers, six emotions.

Layout: `manifest.jsonl` and `audio/1007_DFA_ANG_XX.opus`. The column `split` says which twelve speakers train and which
test. Every speaker says every emotion twice, with four sentences; `README.md` says how the clips were drawn.

Rows say `crema_d`, so that whoever was trained on in CREMA-D is known here.
"""

from __future__ import annotations

from pathlib import Path

from serene.corpora.crema_d import CITATION, LICENCE
from serene.corpora.folder import not_found
from serene.corpora.manifest import Manifest

__all__ = ["CITATION", "FOLDER", "HOME", "LICENCE", "read"]

FOLDER = Path(__file__).parents[1] / "sample"
HOME = "It comes with the package and is found without a path."
TABLE, AUDIO = "manifest.jsonl", "audio"


def read(folder: Path = FOLDER) -> Manifest:
    """Read the sample.

    Raises:
        SereneError: the folder is none.
    """
    if not (folder / TABLE).is_file():
        raise not_found("the sample of CREMA-D", folder, f"{TABLE} and {AUDIO}/*.opus", HOME, LICENCE)
    return Manifest.read(folder / TABLE)

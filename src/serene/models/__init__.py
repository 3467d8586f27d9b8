"""A Batch becomes scores: the model's seams, its encoders, pooling and heads."""

from __future__ import annotations

ENCODERS = {
    "tdnn_bilstm": "serene.models.tdnn_bilstm:TdnnBilstm",
    "hubert": "serene.models.hubert:Hubert",
    "frozen": "serene.models.frozen:FrozenOutputs",
}

"""A Batch becomes scores: the model's seams, its encoders, pooling and heads."""

from __future__ import annotations

ENCODERS = {
    "tdnn_bilstm": "serene.models.tdnn_bilstm:TdnnBilstm",
    "residual_tdnn": "serene.models.residual_tdnn:ResidualTdnn",
    "hubert": "serene.models.hubert:Hubert",
    "frozen": "serene.models.frozen:FrozenOutputs",
}

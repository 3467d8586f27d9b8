"""A Batch becomes scores: the model's seams, its encoders, pooling and heads."""

from __future__ import annotations

import os

# oneDNN 3.12, which torch 2.13 brings, computes some strided bfloat16 convolutions wrongly on processors with AMX, by
# as much as their outputs are large; without AMX they are right. It is read when the first such layer runs.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")

ENCODERS = {
    "tdnn_bilstm": "serene.models.tdnn_bilstm:TdnnBilstm",
    "residual_tdnn": "serene.models.residual_tdnn:ResidualTdnn",
    "hubert": "serene.models.hubert:Hubert",
    "whisper": "serene.models.whisper:Whisper",
    "frozen": "serene.models.frozen:FrozenOutputs",
    "bundled": "serene.models.frozen:BundledOutputs",
}

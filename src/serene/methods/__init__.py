"""How the model learns: one paper, one file."""

from __future__ import annotations

METHODS = {
    "baseline": "serene.methods.baseline:Baseline",
    "multi_task": "serene.methods.tu2019:MultiTask",
    "domain_adversarial": "serene.methods.tu2019:DomainAdversarial",
    "cross_gradient": "serene.methods.tu2019:CrossGradient",
    "speaker_normalization": "serene.methods.speaker_normalization:SpeakerNormalization",
    "speaker_confusion": "serene.methods.speaker_normalization:SpeakerConfusion",
    "label_adaptive_mixup": "serene.methods.label_adaptive_mixup:LabelAdaptiveMixup",
}
PRETRAINING = {"masked_prediction": "serene.methods.masked_prediction:MaskedPrediction"}  # learns from sound alone

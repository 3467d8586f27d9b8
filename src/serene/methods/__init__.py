"""How the model learns: one paper, one file."""

from __future__ import annotations

METHODS = {
    "baseline": "serene.methods.baseline:Baseline",
    "multi_task": "serene.methods.multi_task:MultiTask",
    "domain_adversarial": "serene.methods.domain_adversarial:DomainAdversarial",
    "cross_gradient": "serene.methods.cross_gradient:CrossGradient",
    "speaker_normalization": "serene.methods.speaker_normalization:SpeakerNormalization",
    "speaker_confusion": "serene.methods.speaker_normalization:SpeakerConfusion",
    "label_adaptive_mixup": "serene.methods.label_adaptive_mixup:LabelAdaptiveMixup",
}
PRETRAINING = {"masked_prediction": "serene.methods.masked_prediction:MaskedPrediction"}  # learns from sound alone

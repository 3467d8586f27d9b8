"""Sound becomes a Batch: features, voice activity, the store of computed arrays, length-bucketed batches."""

from __future__ import annotations

FRONT_ENDS = {
    "mfcc": "serene.audio.mfcc:Mfcc",
    "waveform": "serene.audio.waveform:Waveform",
    "frozen": "serene.models.frozen:Frozen",
}

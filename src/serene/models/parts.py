"""What stands around the encoder: the settings of pooling, projector, head and speaker embedding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from serene.errors import SereneError
from serene.speaker import Need

Pooling = Literal["statistics", "attentive", "mean", "first_frame"]
Projection = Literal["none", "relu", "gelu", "residual", "gate"]
HeadKind = Literal["relu_norm_dropout", "relu_dropout_norm", "relu", "linear"]
SpeakerEmbedding = Literal["none", "table", "mfcc_raw", "mfcc_learned", "last", "first", "prefix"]
EmbeddingNorm = Literal["none", "speaker"]
Unseen = Literal["similar", "mean", "zero", "refuse"]

FORMAT = 1  # of a model folder's config.json; a reader refuses what is newer
PERSONAL = ("last", "first", "prefix")  # where Tran et al. 2023 bring a speaker's vector in
INSIDE = ("first", "prefix")  # those below an encoder's first layer


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What stands around the encoder.

    Args:
        pooling: of frames to a vector: `statistics` (mean and deviation), the same weighted by attention
            (`attentive`), `mean`, or the `first_frame` alone, which an encoder that looks around can fill with the
            whole clip (Kang et al. 2023).
        embedding_norm: `speaker` standardises the pooled vector: over the training set, as batch norm without weights
            does, and by the speaker's own clips as soon as some of these are enrolled.
        embedding_prior: so many clips' worth of the training set's statistics are blended into a speaker's own.
        speaker_whitening: how strongly directions in which pooled vectors of speakers differ are made smaller: of the
            training speakers, or of the recipe's speaker corpus; where nothing of the encoder trains; 0 leaves them.
        projector: the speaker normalisation projector between encoder and heads (Gat et al. 2022), `none` without it.
        hidden: units of the head's hidden layers; by default two layers of the width that the encoder's paper has.
        head: what follows each of those layers; see `serene.models.heads.Head`.
        head_dropout: in the head.
        speaker_embedding: what the encoder's frames are told of the speaker: a learned `table` of training speakers,
            the speaker's mean cepstra as they are (`mfcc_raw`) or standardised and mapped (`mfcc_learned`), or `none`.
            Tran et al. 2023 have a vector of the encoder's own width, learned in pre-training and kept: added to the
            frames that come out (`last`) or go into the first layer (`first`), or put before them (`prefix`).
        speaker_width: features of a speaker's vector in the table.
        unseen_speakers: what stands for a speaker without such a vector of the encoder's width: the mean over those
            of the most `similar` known speakers, the `mean` over all, `zero`, or nothing, which is an error (`refuse`).
        similar_speakers: how many the most similar are.
    """

    pooling: Pooling = "statistics"
    embedding_norm: EmbeddingNorm = "none"
    embedding_prior: float = 5.0
    speaker_whitening: float = 0.0
    projector: Projection = "none"
    hidden: tuple[int, ...] | None = None
    head: HeadKind = "relu_norm_dropout"
    head_dropout: float = 0.5
    speaker_embedding: SpeakerEmbedding = "none"
    speaker_width: int = 64
    unseen_speakers: Unseen = "mean"
    similar_speakers: int = 5

    def __post_init__(self) -> None:
        """Refuse what no layer can be made of."""
        if not 0 <= self.head_dropout < 1:
            raise SereneError(f"model.head_dropout is {self.head_dropout}; a probability below 1 was expected.")
        if min((self.speaker_width, *(self.hidden or ()))) < 1:
            raise SereneError(
                f"model.hidden is {self.hidden} and model.speaker_width {self.speaker_width}; a width is at least 1."
            )
        if not 0 <= self.speaker_whitening < math.inf:
            raise SereneError(
                f"model.speaker_whitening is {self.speaker_whitening}; a strength of 0 or more was expected."
            )
        if self.speaker_whitening and (self.projector, self.speaker_embedding) != ("none", "none"):
            raise SereneError(
                "model.speaker_whitening is estimated once, before the training, and a projector or a speaker "
                "embedding learns what comes before it. Drop one of them."
            )
        if not self.embedding_prior > 0:
            raise SereneError(
                f"model.embedding_prior is {self.embedding_prior}; a positive number of clips was expected."
            )
        if self.similar_speakers < 1:
            raise SereneError(f"model.similar_speakers is {self.similar_speakers}; at least 1 was expected.")

    def needs(self, normalize: str) -> frozenset[Need]:
        """Name what a model asks of who speaks, given what its features are standardised by.

        `identity` of those it has vectors of; statistics of their `features` or `embeddings`; their mean `cepstra`.
        """
        asked: dict[Need, bool] = {
            "identity": self.speaker_embedding in ("table", *PERSONAL),
            "features": normalize == "speaker",
            "embeddings": self.embedding_norm == "speaker",
            "cepstra": self.speaker_embedding.startswith("mfcc"),
        }
        return frozenset(need for need, wanted in asked.items() if wanted)

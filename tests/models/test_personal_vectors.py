"""Vectors of known speakers: where the model brings them in, what unknown speakers get, and how voices are kept."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.experiment.trial import keep_voices
from serene.models.encoder import Inside
from serene.models.masking import mask_of
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.speaker_embedding import PersonalVectors
from serene.speaker import SpeakerContext

TINY: dict[str, Any] = {
    "model_type": "hubert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8, 8],
    "conv_kernel": [40, 16],
    "conv_stride": [20, 16],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "initializer_range": 0.3,
}
PEOPLE = ("a/1", "a/2", "b/1", "b/2")
PLACES = ("last", "first", "prefix")


def vectors(unseen: Any, similar: int = 2) -> PersonalVectors:
    """Vectors of four speakers, the third of whom has no voice yet."""
    made = PersonalVectors(4, 3, unseen, similar)
    with torch.no_grad():
        made.vectors.copy_(torch.tensor([[1.0, 2, 3], [5, -1, 0], [100, 100, 100], [0, 4, -2]]))
        made.voices.copy_(torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 9]]))
    return made


def model_of(place: Any, unseen: Any = "mean", **parts: Any) -> EmotionModel:
    """The same small HuBERT every time, whose speakers' vectors are not zero."""
    torch.manual_seed(0)
    model = EmotionModel(
        ("anger", "sadness"),
        1,
        encoder="hubert",
        encoder_settings={"config": TINY},
        normalize="utterance",
        speakers=PEOPLE if place != "none" else (),
        parts=Parts(pooling="mean", hidden=(), head="linear", speaker_embedding=place, unseen_speakers=unseen, **parts),
    )
    if isinstance(model.speaker_embedding, PersonalVectors):
        with torch.no_grad():
            model.speaker_embedding.vectors.copy_(torch.randn(4, 16, generator=torch.Generator().manual_seed(1)))
    return model.eval()


def batch_of(known: list[int] | None, *lengths: int) -> Batch:
    lengths = lengths or (3000, 2000, 4400)[: len(known or [])]
    sound = torch.randn(len(lengths), max(lengths), 1, generator=torch.Generator().manual_seed(2))
    mask = mask_of(torch.tensor(lengths), max(lengths))
    rest = (torch.zeros(len(lengths), 2), torch.full((len(lengths),), -1), tuple(map(str, range(len(lengths)))))
    told = None if known is None else SpeakerContext(identity=torch.tensor(known))
    return Batch(sound * mask.unsqueeze(-1), torch.tensor(lengths), *rest, context=told)


# --- the vectors themselves


def test_they_are_zero_until_they_are_learned() -> None:
    made = PersonalVectors(3, 5, "mean", 2)
    assert made.vectors.shape == made.voices.shape == (3, 5)
    assert not made.vectors.any() and not made.voices.any()
    assert [name for name, _ in made.named_parameters()] == ["vectors"], "voices are no parameter"
    assert "voices" in made.state_dict()


@pytest.mark.parametrize("unseen", ["similar", "mean", "zero", "refuse"])
def test_a_known_speaker_has_a_vector_of_their_own(unseen: str) -> None:
    given = vectors(unseen)(torch.tensor([3, 0, 0]), torch.ones(3, 3))
    assert given.tolist() == [[0, 4, -2], [1, 2, 3], [1, 2, 3]]


def test_unknown_speakers_get_the_mean_of_all_or_zero() -> None:
    who = torch.tensor([-1, 1, -1])
    assert vectors("mean")(who).tolist() == [[26.5, 26.25, 25.25], [5, -1, 0], [26.5, 26.25, 25.25]]
    assert vectors("zero")(who).tolist() == [[0, 0, 0], [5, -1, 0], [0, 0, 0]]


@pytest.mark.parametrize("similar", [1, 2, 3, 9])
def test_unknown_speakers_get_the_mean_of_those_who_sound_most_like_them(similar: int) -> None:
    made = vectors("similar", similar)
    voices = [[3.0, 1.0, 0.5], [0.1, 0.2, 4.0], [-1.0, 3.0, -0.1]]
    given = made(torch.tensor([-1, -1, 2]), torch.tensor(voices)).tolist()
    voiced = (0, 1, 3)
    for voice, got in zip(voices[:2], given[:2], strict=True):

        def likeness(person: int, voice: list[float] = voice) -> float:
            other = made.voices[person].tolist()
            dot = sum(a * b for a, b in zip(voice, other, strict=True))
            return dot / math.hypot(*voice) / math.hypot(*other)

        nearest = sorted(voiced, key=likeness, reverse=True)[:similar]
        by_hand = [sum(made.vectors[p, f].item() for p in nearest) / len(nearest) for f in range(3)]
        assert got == pytest.approx(by_hand, rel=1e-6)
    assert given[2] == [100, 100, 100], "the third is known, though of no voice"


def test_until_any_voice_is_kept_the_similar_are_all() -> None:
    made = vectors("similar")
    mean = made.vectors.mean(dim=0)
    assert torch.equal(made(torch.tensor([-1]))[0], mean)
    made.voices.zero_()
    assert torch.equal(made(torch.tensor([-1]), torch.ones(1, 3))[0], mean)


def test_unknown_speakers_may_be_refused() -> None:
    with pytest.raises(SereneError) as error:
        vectors("refuse")(torch.tensor([0, -1]))
    assert str(error.value) == (
        "This model knows 4 speakers by name, and was given another. Set model.unseen_speakers to similar, mean or "
        "zero, or name one of its speakers."
    )


# --- in the model


@pytest.mark.parametrize("known", [[0, 3, 2], [1, -1, 1]])
@torch.no_grad()
def test_the_vector_is_added_to_the_last_layers_frames(known: list[int]) -> None:
    model, plain, batch = model_of("last"), model_of("none"), batch_of(known)
    with_vectors, without = (m.context(m.features(batch)) for m in (model, plain))
    table = model.speaker_embedding.vectors  # pyright: ignore[reportOptionalMemberAccess]
    for row, person in enumerate(known):
        vector = table[person] if person >= 0 else table.mean(dim=0)
        torch.testing.assert_close(
            with_vectors.values[row] - without.values[row], vector.expand(13, 16), atol=2e-6, rtol=0
        )
    moved = model.embed(batch) - plain.embed(batch)
    torch.testing.assert_close(moved[0], table[known[0]], atol=2e-6, rtol=0)


@pytest.mark.parametrize("place", ["first", "prefix"])
@torch.no_grad()
def test_the_vector_reaches_inside_the_encoder(place: str) -> None:
    model, batch = model_of(place), batch_of([2, 0, -1])
    features = model.features(batch)
    table = model.speaker_embedding.vectors  # pyright: ignore[reportOptionalMemberAccess]
    told = torch.stack([table[2], table[0], table.mean(dim=0)])
    expected = model.encoder(features.values, features.mask, Inside(**{place: told}))
    got = model.context(features)
    assert torch.equal(got.values, expected)
    assert torch.equal(got.mask, model.encoder.mask_after(mask_of(batch.lengths, batch.inputs.shape[1])))
    assert not torch.allclose(got.values, model.encoder(features.values, features.mask), atol=1e-3)


@torch.no_grad()
def test_what_a_method_does_inside_is_done_too() -> None:
    model, batch = model_of("first"), batch_of([2, 0, 1])
    features, hidden = model.features(batch), torch.zeros(3, 13, dtype=torch.bool)
    hidden[:, 2] = True
    told = model.speaker_embedding.vectors[[2, 0, 1]]  # pyright: ignore[reportOptionalMemberAccess]
    expected = model.encoder(features.values, features.mask, Inside(masked=hidden, first=told))
    assert torch.equal(model.context(replace(features, inside=Inside(masked=hidden))).values, expected)


@pytest.mark.parametrize("place", PLACES)
@torch.no_grad()
def test_nobody_is_known_where_nothing_is_said(place: str) -> None:
    model = model_of(place)
    silent, strange = (model(batch_of(known, 3000, 2000)) for known in (None, [-1, -1]))
    assert torch.equal(silent, strange)
    assert not torch.allclose(silent, model(batch_of([0, 1], 3000, 2000)))
    with pytest.raises(SereneError, match="was given another"):
        model_of(place, "refuse")(batch_of(None, 3000))


@pytest.mark.parametrize("place", PLACES)
@torch.no_grad()
def test_unknown_speakers_are_compared_by_how_they_sound_without_any_vector(place: str) -> None:
    model, batch = model_of(place, "similar", similar_speakers=1), batch_of([-1, 1, -1])
    features = model.features(batch)
    voice = model.voice(features)
    plain = model_of("none")
    torch.testing.assert_close(voice, plain.embed(batch), msg="the mean over sound of what the bare encoder gives")
    table = model.speaker_embedding
    assert isinstance(table, PersonalVectors)
    table.voices.copy_(torch.stack([-voice[0], -voice[2], 3 * voice[2], 0.5 * voice[0]]))
    known = model(replace(batch, context=SpeakerContext(identity=torch.tensor([3, 1, 2]))))
    torch.testing.assert_close(model(batch), known)
    for row, length in enumerate(batch.lengths.tolist()):  # nor do batch-mates change who is similar
        one = replace(batch.mapped(lambda tensor, row=row: tensor[[row]]), ids=batch.ids[row : row + 1])
        one = replace(one, inputs=one.inputs[:, :length])
        torch.testing.assert_close(model(one)[0], known[row], atol=1e-5, rtol=1e-5)


def test_a_speaker_who_is_not_in_the_batch_learns_nothing() -> None:
    model = model_of("last")
    model(batch_of([0, 2, 2])).square().sum().backward()
    gradient = model.speaker_embedding.vectors.grad  # pyright: ignore[reportOptionalMemberAccess]
    assert gradient is not None
    assert gradient.abs().sum(dim=1).bool().tolist() == [True, False, True, False]


@pytest.mark.parametrize("place", PLACES)
@torch.no_grad()
def test_people_vectors_and_voices_are_in_the_models_folder(place: str, tmp_path: Path) -> None:
    model = model_of(place, "similar", similar_speakers=2)
    assert isinstance(model.speaker_embedding, PersonalVectors)
    model.speaker_embedding.voices.copy_(torch.randn(4, 16, generator=torch.Generator().manual_seed(5)))
    model.save(tmp_path / "model", {"front_end": "waveform"})
    (tmp_path / "model").rename(tmp_path / "moved")
    again = EmotionModel.load(tmp_path / "moved")
    assert again.speakers == PEOPLE
    assert (again.parts.unseen_speakers, again.parts.similar_speakers) == ("similar", 2)
    batch = batch_of([3, -1, 1])
    assert torch.equal(again(batch), model(batch))


class Given:
    """Training clips, as a dataset gives them: several batches."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def in_order(self, batch_size: int) -> list[Batch]:
        return self.batches


@torch.no_grad()
def test_voices_are_the_means_over_a_speakers_training_clips() -> None:
    model = model_of("first", "similar")
    batches = [batch_of([0, 3, 0]), batch_of([-1, 0], 2500, 3500), batch_of([3], 1000)]
    keep_voices(model, Given(batches), "cpu")  # pyright: ignore[reportArgumentType]
    spoken: dict[int, list[list[float]]] = {}
    for batch in batches:
        for person, voice in zip(
            batch.context.identity.tolist(), model.voice(model.features(batch)).tolist(), strict=True
        ):  # pyright: ignore
            spoken.setdefault(person, []).append(voice)
    assert {person: len(voices) for person, voices in spoken.items()} == {0: 3, 3: 2, -1: 1}
    for person in range(4):
        by_hand = [sum(column) / len(column) for column in zip(*spoken.get(person, [[0.0] * 16]), strict=True)]
        assert model.speaker_embedding.voices[person].tolist() == pytest.approx(by_hand, abs=1e-6)  # pyright: ignore


# --- what is refused


@pytest.mark.parametrize("place", ["first", "prefix"])
def test_an_encoder_that_takes_nothing_inside_is_told_so(place: Any) -> None:
    with pytest.raises(SereneError, match=f"{place} reaches inside an encoder of waveforms; this encoder takes `last`"):
        EmotionModel(("a", "b"), 39, speakers=PEOPLE, parts=Parts(speaker_embedding=place))
    assert EmotionModel(("a", "b"), 39, speakers=PEOPLE, parts=Parts(speaker_embedding="last")).speakers == PEOPLE


def test_people_without_names_are_refused() -> None:
    for kind in (*PLACES, "table"):
        with pytest.raises(SereneError, match="has to be told the speakers' names"):
            EmotionModel(("a", "b"), 39, parts=Parts(speaker_embedding=kind))


def test_nobody_is_not_similar() -> None:
    with pytest.raises(SereneError, match=r"model.similar_speakers is 0; at least 1 was expected"):
        Parts(similar_speakers=0)

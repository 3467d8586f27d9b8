"""The probes find what was planted, stay at chance where nothing was, and never share a text between halves."""

from __future__ import annotations

import numpy as np
import pytest

from serene.errors import SereneError
from serene.evaluation import probes
from serene.evaluation.probes import equal_error_rate, halves, speaker_probe


def people(n_speakers: int, each: int) -> list[str]:
    return [f"s{i}" for i in range(n_speakers) for _ in range(each)]


def test_planted_speakers_are_found() -> None:
    rng = np.random.default_rng(0)
    offsets = np.repeat(rng.normal(size=(6, 10)), 20, axis=0)
    probe = speaker_probe(offsets + 0.2 * rng.normal(size=offsets.shape), people(6, 20), draws=2)
    assert probe["linear"]["mean"] > 0.98
    assert probe["nonlinear"]["mean"] > 0.98
    assert probe["accuracy"] == max(probe["linear"]["mean"], probe["nonlinear"]["mean"])
    assert probe["eer"] < 0.02
    assert probe["chance"] == pytest.approx(1 / 6)
    assert probe["majority"] == pytest.approx(1 / 6)
    assert (probe["n_utterances"], probe["n_speakers"], probe["n_speakers_left_out"], probe["draws"]) == (120, 6, 0, 2)


def test_without_speakers_it_is_at_chance() -> None:
    probe = speaker_probe(np.random.default_rng(1).normal(size=(400, 8)), people(5, 80))
    for name in ("linear", "nonlinear"):
        assert probe[name]["mean"] == pytest.approx(0.2, abs=0.06)
        assert probe[name]["std"] > 0
    assert probe["eer"] == pytest.approx(0.5, abs=0.02)


def test_speakers_in_a_product_are_seen_by_the_nonlinear_probe_only() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(0.2, 1, size=(400, 3)) * rng.choice([-1, 1], size=(400, 3))
    speakers = np.where(x.prod(axis=1) > 0, "even", "odd").tolist()
    probe = speaker_probe(x, speakers, draws=3)
    assert probe["linear"]["mean"] < 0.6
    assert probe["nonlinear"]["mean"] > 0.95
    assert probe["accuracy"] == probe["nonlinear"]["mean"]


def test_recognising_the_sentence_does_not_help() -> None:
    """Each speaker says each text once, and the embedding holds speaker x text only: nothing carries over."""
    rng = np.random.default_rng(3)
    speakers, texts = people(6, 12), [f"t{i}" for _ in range(6) for i in range(12)]
    twice = np.repeat(rng.normal(size=(72, 30)), 2, axis=0)  # every clip is there in two nearly identical takes
    x = twice + 0.05 * rng.normal(size=twice.shape)
    names, said = np.repeat(speakers, 2).tolist(), np.repeat(texts, 2).tolist()
    apart, shared = speaker_probe(x, names, said, draws=3), speaker_probe(x, names, draws=3)
    assert apart["text_disjoint"] is True
    assert shared["text_disjoint"] is False
    assert apart["accuracy"] < 0.3
    assert shared["accuracy"] > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_halves_share_no_text_and_every_speaker_is_evenly_in_both(seed: int) -> None:
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(7), 24)
    text = np.tile(np.repeat(np.arange(8), 3), 7)
    first = halves(speaker, text, rng)
    assert not set(text[first]) & set(text[~first])
    assert np.bincount(speaker[first]).tolist() == [12] * 7


def test_halves_of_single_utterances_share_out_each_speaker() -> None:
    speaker = np.repeat(np.arange(4), [2, 3, 10, 5])
    first = halves(speaker, np.arange(20), np.random.default_rng(0))
    count = np.bincount(speaker[first], minlength=4)
    assert count[0] == 1 and count[1] in (1, 2) and count[2] == 5 and count[3] in (2, 3)


def test_halves_differ_from_draw_to_draw() -> None:
    speaker, text, rng = np.repeat(np.arange(3), 8), np.tile(np.arange(8), 3), np.random.default_rng(0)
    assert len({tuple(halves(speaker, text, rng)) for _ in range(10)}) > 5


def standardised_by(x: np.ndarray, owner: np.ndarray) -> np.ndarray:
    result = x.copy()
    for one in np.unique(owner):
        own = x[owner == one]
        result[owner == one] = (own - own.mean(axis=0)) / own.std(axis=0)
    return result


def test_what_was_standardised_by_speaker_stays_at_chance_when_standardised_inside_the_halves() -> None:
    """Statistics over all clips make the halves of a speaker opposites: a probe then errs more often than by chance."""
    rng = np.random.default_rng(4)
    owner = np.repeat(np.arange(8), 20)
    x = rng.normal(size=(160, 40)) + rng.normal(size=(8, 40))[owner]

    def within_halves(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
        return standardised_by(x[rows], 2 * owner[rows] + first)

    everything = standardised_by(x, owner)
    artefact = speaker_probe(everything, people(8, 20))
    honest = speaker_probe(everything, people(8, 20), within_halves=within_halves)
    assert artefact["linear"]["mean"] < 0.05
    assert artefact["standardized"] == "by the training half"
    assert honest["linear"]["mean"] == pytest.approx(1 / 8, abs=0.05)
    assert honest["nonlinear"]["mean"] == pytest.approx(1 / 8, abs=0.06)
    assert honest["standardized"] == "by speaker inside each half"


def test_remade_embeddings_are_those_of_the_rows_that_were_asked_for() -> None:
    """A speaker who is left out shifts the rows; what is planted is found only where rows and speakers still agree."""
    offsets = np.repeat(np.random.default_rng(14).normal(size=(3, 5)), 10, axis=0)
    x = np.vstack([np.full((1, 5), 9.0), offsets + 0.05 * np.random.default_rng(15).normal(size=(30, 5))])
    asked: list[np.ndarray] = []

    def within_halves(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
        assert rows.shape == first.shape
        asked.append(rows)
        return x[rows]

    probe = speaker_probe(np.zeros((31, 5)), ["once", *people(3, 10)], draws=2, within_halves=within_halves)
    assert probe["accuracy"] == 1
    assert [rows.tolist() for rows in asked] == [list(range(1, 31))] * 2


def test_speakers_who_cannot_be_in_both_halves_are_left_out_and_counted() -> None:
    rng = np.random.default_rng(5)
    names = [*people(3, 10), "once", "parrot", "parrot"]
    texts = [*[f"t{i % 5}" for i in range(30)], "t0", "t1", "t1"]
    x = rng.normal(size=(33, 4))
    by_text = speaker_probe(x, names, texts, draws=1)
    assert (by_text["n_speakers"], by_text["n_speakers_left_out"], by_text["n_utterances"]) == (3, 2, 30)
    by_utterance = speaker_probe(x, names, draws=1)
    assert (by_utterance["n_speakers"], by_utterance["n_speakers_left_out"]) == (4, 1)
    assert by_text["linear"]["std"] is None, "one draw has no deviation"


def test_texts_that_cannot_be_kept_apart_are_noted() -> None:
    probe = speaker_probe(np.random.default_rng(6).normal(size=(20, 3)), people(2, 10), ["the same"] * 20, draws=1)
    assert probe["text_disjoint"] is False
    assert "share texts" in probe["note"]


def test_speakers_whose_texts_cannot_all_be_halved_are_left_out_of_that_draw() -> None:
    """Three speakers with two of three texts each: whatever the halves, one of them has both texts in one."""
    names = people(3, 8)
    texts = [t for pair in (("a", "b"), ("b", "c"), ("c", "a")) for t in pair * 4]
    probe = speaker_probe(np.random.default_rng(7).normal(size=(24, 3)), names, texts, draws=2)
    assert probe["chance"] == pytest.approx(1 / 2)
    assert probe["n_speakers_left_out"] == 1


def test_majority_is_the_test_share_of_the_training_halfs_most_frequent_speaker() -> None:
    probe = speaker_probe(np.random.default_rng(8).normal(size=(40, 3)), ["a"] * 30 + ["b"] * 10, draws=3)
    assert probe["majority"] == pytest.approx(0.75)
    assert probe["chance"] == 0.5


def test_the_same_seed_gives_the_same_figures() -> None:
    x, names = np.random.default_rng(9).normal(size=(60, 5)), people(3, 20)
    assert speaker_probe(x, names, draws=2, seed=1) == speaker_probe(x, names, draws=2, seed=1)
    assert speaker_probe(x, names, draws=2, seed=1) != speaker_probe(x, names, draws=2, seed=2)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    x = np.hstack([np.random.default_rng(10).normal(size=(40, 3)), np.full((40, 1), 7.0)])
    assert 0 <= speaker_probe(x, people(2, 20), draws=1)["accuracy"] <= 1


def test_large_sets_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MOST_EMBEDDINGS", 50)
    assert speaker_probe(np.random.default_rng(11).normal(size=(80, 3)), people(2, 40), draws=1)["n_utterances"] == 50


def test_equal_error_rate_by_hand() -> None:
    """Sorted: D.1 D.3 S.4 D.5 | S.6 D.7 S.8 S.9: at .6 one of four S is missed, one of four D passes."""
    assert equal_error_rate(np.array([0.4, 0.6, 0.8, 0.9]), np.array([0.1, 0.3, 0.5, 0.7])) == pytest.approx(0.25)
    assert equal_error_rate(np.array([0.8, 0.9]), np.array([0.1, 0.2])) == 0
    assert equal_error_rate(np.array([0.1, 0.2]), np.array([0.8, 0.9])) == 1
    assert equal_error_rate(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0.5


def test_equal_error_rate_agrees_with_a_loop_over_thresholds() -> None:
    rng = np.random.default_rng(12)
    same, different = rng.normal(1, 1, 60).round(1), rng.normal(0, 1, 90).round(1)
    gaps = []
    for threshold in [*np.unique(np.concatenate([same, different])), np.inf]:
        miss = sum(s < threshold for s in same) / 60
        alarm = sum(d >= threshold for d in different) / 90
        gaps.append((abs(miss - alarm), (miss + alarm) / 2))
    assert equal_error_rate(same, different) == pytest.approx(min(gaps)[1])


def test_what_cannot_be_probed_says_why() -> None:
    x = np.random.default_rng(13).normal(size=(6, 2))
    with pytest.raises(SereneError, match="two speakers with two utterances"):
        speaker_probe(x, ["a"] * 6)
    with pytest.raises(SereneError, match="of 6 speakers and 6 utterances, 0 can be used"):
        speaker_probe(x, list("abcdef"))
    with pytest.raises(SereneError, match="not finite"):
        speaker_probe(np.full((4, 2), np.nan), ["a", "a", "b", "b"])
    with pytest.raises(SereneError, match="per utterance"):
        speaker_probe(x, ["a", "b"])


@pytest.mark.parametrize(("speakers", "clips", "rank"), [(20, 40, 4), (4, 60, 2)])
def test_speakers_in_a_few_of_many_directions_are_found(speakers: int, clips: int, rank: int) -> None:
    """Five hundred directions of noise must not hide what a few give away."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(speakers * clips, 512))
    voices = np.repeat(rng.normal(size=(speakers, rank)), clips, axis=0)
    x[:, :rank] = voices + 0.3 * x[:, :rank]
    probe = speaker_probe(x, people(speakers, clips), draws=1)
    assert probe["linear"]["mean"] > max(0.5, 5 * probe["chance"] / 2)
    assert probe["eer"] < 0.35


def test_a_feature_that_never_changes_within_a_speaker_can_be_probed() -> None:
    names = people(4, 10)
    exact = np.repeat(np.arange(4.0), 10)[:, None]
    x = np.concatenate([exact, np.zeros((40, 1)), np.random.default_rng(9).normal(size=(40, 2))], axis=1)
    assert speaker_probe(x, names, draws=2)["linear"]["mean"] == 1.0

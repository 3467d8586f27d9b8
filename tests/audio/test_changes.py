"""Changes of waveforms do what they say, by hand: how loud, how noisy, how long a room rings, what a line leaves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serene.audio.changes import CHANGES, level, mp3, noise, opus, part, room, speed, telephone, tilt

RATE = 16_000
VOICE = (0.2 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def power(samples: np.ndarray) -> float:
    return sum(float(value) ** 2 for value in samples) / len(samples)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_finite_single_precision_and_the_generator_s(name: str) -> None:
    before = VOICE.copy()
    made = [CHANGES[name](VOICE, generator(seed)) for seed in (1, 1)]
    assert made[0].dtype == np.float32
    assert np.isfinite(made[0]).all()
    assert np.array_equal(*made)
    assert np.array_equal(VOICE, before), "the clip itself is not changed"
    if name not in ("speed", "part"):
        assert len(made[0]) == len(VOICE)


@pytest.mark.parametrize("name", sorted(set(CHANGES) - {"noise", "room", "mp3", "opus"}))
def test_silence_and_a_single_sample_are_no_trouble(name: str) -> None:
    for samples in (np.zeros(800, np.float32), np.ones(1, np.float32)):
        if name == "telephone" and len(samples) == 1:
            continue
        assert np.isfinite(CHANGES[name](samples, generator(0))).all()


def test_the_level_goes_twenty_decibels_either_way_and_full_scale_is_the_end() -> None:
    soft = np.full(10, 0.001, np.float32)
    decibels = [20 * math.log10(float(level(soft, generator(seed))[0]) / 0.001) for seed in range(300)]
    assert -20 <= min(decibels) < -19
    assert 19 < max(decibels) <= 20
    assert max(float(np.abs(level(np.full(10, 0.9, np.float32), generator(seed))).max()) for seed in range(50)) == 1.0


def test_noise_lies_five_to_thirty_decibels_below() -> None:
    found = [10 * math.log10(power(VOICE) / power(noise(VOICE, generator(seed)) - VOICE)) for seed in range(20)]
    assert all(5 - 0.01 <= ratio <= 30 + 0.01 for ratio in found)
    assert max(found) - min(found) > 10


def test_a_room_rings_after_an_impulse_and_dies_away_as_its_decay_says() -> None:
    impulse = np.zeros(RATE, np.float32)
    impulse[0] = 1.0
    for seed in range(3):
        draw = generator(seed)
        seconds, direct = draw.uniform(0.1, 0.8), draw.uniform(0, 20)
        answer = room(impulse, generator(seed))
        size = round(seconds * RATE)
        tail = answer[1 : size + 1] / answer[0]
        assert 10 * math.log10(1 / sum(float(v) ** 2 for v in tail)) == pytest.approx(direct, abs=0.1)
        assert not np.abs(answer[size + 2 :] / answer[0]).max(initial=0) > 1e-4
        halves = [sum(float(v) ** 2 for v in part) for part in (tail[: size // 2], tail[size // 2 :])]
        assert 10 * math.log10(halves[0] / halves[1]) == pytest.approx(30, abs=2)  # 60 dB in all
        assert power(answer) == pytest.approx(power(impulse), rel=1e-4)


def test_a_tilt_adds_a_share_of_the_sample_before() -> None:
    for seed in range(5):
        share = generator(seed).uniform(-0.7, 0.7)
        plain = [float(VOICE[i]) + share * (float(VOICE[i - 1]) if i else 0.0) for i in range(400)]
        scale = math.sqrt(power(VOICE[:400]) / power(np.array(plain)))
        np.testing.assert_allclose(tilt(VOICE[:400], generator(seed)), np.array(plain) * scale, atol=1e-5)


def test_a_telephone_leaves_nothing_above_four_kilohertz() -> None:
    bands = np.abs(np.fft.rfft(telephone(VOICE, generator(0)))) ** 2
    of = np.fft.rfftfreq(len(VOICE), 1 / RATE)
    heard = bands[(of > 500) & (of < 3000)].mean()
    assert bands[of > 4200].mean() < 1e-3 * heard
    assert bands[of < 100].mean() < 2e-2 * heard


@pytest.mark.parametrize("change", [opus, mp3])
def test_a_codec_keeps_what_it_can_where_it_was(change) -> None:
    time = np.arange(RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 440 * time) * (time > 0.3)).astype(np.float32)
    made = change(tone, generator(0))
    assert not np.array_equal(made, tone)
    assert np.corrcoef(made, tone)[0, 1] > 0.95


def test_speed_and_part_have_the_lengths_they_say() -> None:
    lengths = [len(speed(VOICE, generator(seed))) / len(VOICE) for seed in range(60)]
    assert 1 / 1.1 - 0.001 <= min(lengths) < 0.93
    assert 1.07 < max(lengths) <= 1 / 0.9 + 0.001
    long = np.arange(5 * RATE, dtype=np.float32)
    for seed in range(20):
        cut = part(long, generator(seed))
        assert 1 <= len(cut) / RATE <= 3
        assert np.array_equal(cut, np.arange(cut[0], cut[0] + len(cut), dtype=np.float32))
    assert np.array_equal(part(VOICE[:100], generator(0)), VOICE[:100])

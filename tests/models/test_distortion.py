"""What is done to training clips: by hand where it can be, within bounds where it is drawn, nothing when scoring."""

from __future__ import annotations

import math

import pytest
import torch

from serene.errors import SereneError
from serene.models.masking import mask_of
from serene.models.residual_tdnn import Distortion

CLIPS, FRAMES, FILTERS = 200, 60, 26
WIDTH = FILTERS + 4
WHOLE = torch.ones(CLIPS, FRAMES, dtype=torch.bool)
NOTHING = {"warp": 0.0, "colour": 0.0, "hidden_features": 0, "hidden_frames": 0}


def distortion(**settings: float) -> Distortion:
    torch.manual_seed(0)
    return Distortion(**{**NOTHING, **settings})  # type: ignore[arg-type]


def test_without_settings_nothing_changes_and_nothing_does_when_scoring() -> None:
    clips = torch.randn(CLIPS, FRAMES, WIDTH)
    assert torch.equal(distortion()(clips, WHOLE), clips)
    whole = distortion(warp=0.1, colour=1.0, hidden_features=10, hidden_frames=20)
    assert torch.equal(whole.eval()(clips, WHOLE), clips)
    assert not torch.equal(whole.train()(clips, WHOLE), clips)


def test_bands_and_stretches_are_hidden_within_each_clip() -> None:
    made, frames = distortion(hidden_features=10, hidden_frames=20), torch.ones(CLIPS, FRAMES, WIDTH)
    hidden = made.hidden(frames, WHOLE)
    bands, stretches = (hidden == 0).all(dim=1), (hidden == 0).all(dim=2)
    assert bands.sum(dim=1).max() <= 2 * 10 and stretches.sum(dim=1).max() <= 2 * 20
    assert 7.5 < bands.sum(dim=1).float().mean() < 11, "two bands of 5 on average, which may overlap"
    assert 15 < stretches.sum(dim=1).float().mean() < 21
    assert bands.any(dim=0).all() and stretches.any(dim=0).all(), "any place may be hidden"
    assert torch.equal(hidden == 0, bands[:, None, :] | stretches[:, :, None])
    short = made.hidden(frames, mask_of(torch.full((CLIPS,), 15), FRAMES))
    assert not (short == 0).all(dim=2)[:, 15:].any(), "nothing is wasted on padding"


def test_another_room_is_a_smooth_curve_that_is_the_same_in_all_frames() -> None:
    clips = torch.randn(CLIPS, FRAMES, WIDTH)
    added = distortion(colour=0.5).coloured(clips) - clips
    torch.testing.assert_close(added, added[:, :1].expand_as(added), rtol=0, atol=1e-5)
    curve = added[:, 0]
    assert not curve[:, FILTERS : WIDTH - 1].any(), "pitch and voicing are as they were"
    moved = curve.any(dim=1)
    assert 0.35 < moved.float().mean() < 0.65, "half of the clips stay where they are"
    assert curve[moved, -1].std().item() == pytest.approx(0.5, rel=0.2), "the level goes to the power"
    for clip in range(3):  # a cosine series of four terms, the first of which is the level
        places = [(f + 0.5) / FILTERS for f in range(FILTERS)]
        terms = [
            2 / FILTERS * sum(curve[clip, f].item() * math.cos(math.pi * k * places[f]) for f in range(FILTERS))
            for k in range(8)
        ]
        assert terms[0] / 2 == pytest.approx(curve[clip, -1].item(), abs=1e-4)
        assert terms[4:] == pytest.approx([0] * 4, abs=1e-4)


def test_time_and_the_mel_axis_are_stretched_and_the_rest_goes_along() -> None:
    """A ramp over time becomes one of another slope; one over mel too, and pitch and power stay with their frames."""
    clips = torch.zeros(CLIPS, FRAMES, WIDTH)
    clips[:, :, FILTERS:] = torch.arange(FRAMES)[None, :, None].float()
    clips[:, :, :FILTERS] = torch.arange(FILTERS).float()
    mask = mask_of(torch.full((CLIPS,), 50), FRAMES)
    made = distortion(warp=0.1).warped(clips, mask)
    paces, tracts = made[:, 30, -1] / 30, made[:, 0, 10] / 10
    for ratio in (paces, tracts):
        assert 0.9 - 0.02 <= ratio.min() < 0.93 and 1.07 < ratio.max() <= 1.1 + 0.02
    assert abs(torch.corrcoef(torch.stack([paces, tracts]))[0, 1]) < 0.3, "a long tract may speak fast"
    assert (made[:, :50, -1] <= 49).all()
    assert torch.equal(made[:, 50:, FILTERS:], clips[:, 50:, FILTERS:]), "padding stays where it is"
    fast = int(paces.argmax())
    assert made[fast, 49, -1] < 49 and made[fast, :50, -1].max() == 49, "what is past the end comes back"
    expected = [min(f * tracts[fast].item(), FILTERS - 1) for f in range(FILTERS)]
    assert made[fast, 0, :FILTERS].tolist() == pytest.approx(expected, abs=1e-3)


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"warp": 0.6}, {"warp": -0.1}, {"colour": -1.0}, {"hidden_frames": -1}):
        with pytest.raises(SereneError, match=r"model.warp is .* 0 or more was expected of each"):
            distortion(**wrong)

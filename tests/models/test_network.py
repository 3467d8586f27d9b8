"""A network says how many clips it should be given at once."""

from __future__ import annotations

from serene.audio.mfcc import Mfcc
from serene.audio.waveform import Waveform
from serene.models.network import Network


class Inexact(Network):
    exact = False


class Device(Network):
    on_cpu = False


def test_a_network_is_given_clips_one_by_one_where_a_batch_would_change_or_slow_them() -> None:
    assert Network().clips(Mfcc.declared, 16) == 16
    assert Network().clips(Waveform.declared, 16) == 1
    assert Device().clips(Waveform.declared, 16) == 16
    assert Inexact().clips(Mfcc.declared, 16) == 1

"""The training of Kang et al. 2023: Adam's constants and the falling rate by hand, partners, resuming, a whole run."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

from serene.audio.augment import Augment
from serene.audio.batch import Batch
from serene.audio.dataset import Dataset
from serene.audio.input_spec import InputSpec
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.experiment import embedding_probes, recipe
from serene.experiment.train import train
from serene.experiment.trial import measured
from serene.methods.label_adaptive_mixup import LabelAdaptiveMixup
from serene.methods.method import Group, Method, Update
from serene.models.encoder import Frames
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.task import Task
from serene.training.trainer import Selected, Trainer

EMOTIONS = ("anger", "sadness")


class Held:
    """A store that holds noise for every clip, in memory; the clip's id is its number of frames and a name."""

    front_end = SimpleNamespace(spec=InputSpec(width=5, rate=100.0), declared=InputSpec(width=5, rate=100.0))

    def get(self, audio_hash: str, _samples: object) -> np.ndarray:
        frames, _, number = audio_hash.partition("-")
        return np.random.default_rng(int(number)).standard_normal((int(frames), 5)).astype(np.float32)


def clips(lengths: list[int]) -> Dataset:
    """A training part of clips of so many frames; emotions and two speakers alternate."""
    utterances = [
        Utterance(id=f"{n}", audio="nowhere", speaker="AB"[n % 2], emotion=EMOTIONS[n % 2], audio_hash=f"{length}-{n}")
        for n, length in enumerate(lengths)
    ]
    return Dataset(utterances, Held(), task=Task(tuple(EMOTIONS)), speakers=("A", "B"))  # pyright: ignore[reportArgumentType]


class Mean(nn.Module):
    """An encoder that passes frames on, for what does not depend on the encoder."""

    front_end, normalize, shortest, head_width = "mfcc", "none", 1, 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rebuilt: dict[str, Any] = {}
        self.out_width = width
        self.linear = nn.Linear(width, width)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return self.linear(frames)

    def mask_after(self, mask: Tensor) -> Tensor:
        return mask


def simple(width: int = 5) -> EmotionModel:
    torch.manual_seed(0)
    around = Parts(pooling="mean", hidden=(3,), head="linear")
    return EmotionModel(EMOTIONS, width, encoder=f"{__name__}:Mean", normalize="none", parts=around)


def fit(method: Method, model: nn.Module, train: Dataset, folder: Path, **settings: Any) -> Selected:
    more = {"validation": None, "seed": 0, "on_epoch": None}
    more |= {key: settings.pop(key) for key in more if key in settings}
    clips = more.pop("validation")
    more["validate"] = clips and (lambda trained: measured(trained, clips))
    plain = {"batch_size": 4, "clip": None, "select_on": "last", "device": "cpu"}
    return Trainer(**(plain | settings)).fit(model, method, train, folder=folder, **more)


# --- Adam's constants, and a rate that falls epoch by epoch


class Slope(Method):
    """One parameter at the bottom of a bowl's side; notes where it is at every step."""

    def __init__(self, slope: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.slope, self.seen = slope, []

    def updates(self, model: nn.Module) -> list[Update]:
        def loss(_batch: Batch, _progress: float) -> dict[str, Tensor]:
            self.seen.append(self.place.item())
            return {"height": self.slope(self.place)}

        return [Update("emotion", loss, (Group("all", (self.place,)),))]


def path(folder: Path, slope: Callable[[Tensor], Tensor], **settings: Any) -> list[float]:
    """Every place of the parameter, of two steps per epoch, the last one too."""
    method = Slope(slope)
    fit(method, simple(), clips([10] * 8), folder, **settings)
    return [*method.seen, method.place.item()]


@pytest.mark.parametrize("betas", [(0.9, 0.98), (0.5, 0.75), (0.0, 0.0)])
@pytest.mark.parametrize(("optimizer", "weight_decay"), [("adam", 0.0), ("adamw", 0.1)])
def test_adam_forgets_as_betas_say_and_is_damped_by_epsilon(
    optimizer: str, weight_decay: float, betas: tuple[float, float], tmp_path: Path
) -> None:
    settings = {"epochs": 4, "learning_rate": 0.1, "betas": betas, "epsilon": 0.3, "weight_decay": weight_decay}
    found = path(tmp_path, lambda place: (place - 3) ** 2, optimizer=optimizer, **settings)
    at, first, second = 1.0, 0.0, 0.0
    for step, seen in enumerate(found, 1):
        assert seen == pytest.approx(at, abs=1e-12), step
        slope = 2 * (at - 3)
        first = betas[0] * first + (1 - betas[0]) * slope
        second = betas[1] * second + (1 - betas[1]) * slope**2
        mean, square = first / (1 - betas[0] ** step), second / (1 - betas[1] ** step)
        at -= 0.1 * weight_decay * at
        at -= 0.1 * mean / (math.sqrt(square) + 0.3)


def test_by_default_adam_has_the_constants_of_its_paper(tmp_path: Path) -> None:
    named = {"betas": (0.9, 0.999), "epsilon": 1e-8}
    for optimizer in ("adam", "adamw"):
        folders = [tmp_path / optimizer / name for name in ("plain", "named")]
        plain, same = (
            path(folder, lambda place: (place - 3) ** 2, optimizer=optimizer, epochs=2, **settings)
            for folder, settings in zip(folders, ({}, named), strict=True)
        )
        assert plain == same


@pytest.mark.parametrize(("decay", "after", "warmup"), [(0.8, 20, 0.0), (0.8, 3, 0.0), (0.5, 0, 0.0), (0.8, 20, 0.25)])
def test_the_rate_is_multiplied_after_each_epoch_and_then_stays(
    decay: float, after: int, warmup: float, tmp_path: Path
) -> None:
    settings = {"schedule": "decay", "decay": decay, "decay_epochs": after, "warmup": warmup}
    found = path(
        tmp_path, lambda place: 2 * place, optimizer="sgd", momentum=0.0, epochs=6, learning_rate=0.1, **settings
    )
    for step, (before, behind) in enumerate(pairwise(found)):
        factor = 1.0
        for epoch in range(1, 7):
            factor *= decay if epoch <= step // 2 and epoch <= after else 1.0
        factor = step / (warmup * 12) if step < warmup * 12 else factor
        assert before - behind == pytest.approx(0.1 * factor * 2, rel=1e-9), step


def test_the_papers_schedule_divides_by_five_quarters_until_epoch_twenty() -> None:
    trainer = Trainer(epochs=100, schedule="decay")
    for epoch in range(100):
        for step in (0, 1, 6, 318):  # of 319
            expected = (4 / 5) ** min(epoch, 20)
            assert trainer.factor((epoch + step / 319) / 100) == pytest.approx(expected, rel=1e-12), (epoch, step)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("betas", (0.9, 1.0), "training.betas is [0.9, 1.0]; two numbers from 0 to below 1 were expected."),
        ("betas", (-0.1, 0.9), "training.betas is [-0.1, 0.9]; two numbers from 0 to below 1 were expected."),
        ("epsilon", 0.0, "training.epsilon is 0.0; a positive number was expected."),
        ("decay", 0.0, "training.decay is 0.0; a positive number was expected."),
        ("decay", math.nan, "training.decay is nan; a positive number was expected."),
        ("decay_epochs", -1, "training.decay_epochs is -1; at least 0 was expected."),
    ],
)
def test_constants_that_make_no_sense(setting: str, value: Any, said: str) -> None:
    with pytest.raises(SereneError) as caught:
        Trainer(**{setting: value})
    assert str(caught.value) == said


def test_a_recipe_writes_them_as_it_reads_them(tiny_recipe: Path) -> None:
    changes = ["training.betas=[0.9, 0.98]", "training.epsilon=1e-9", "training.schedule=decay"]
    made = recipe.load(tiny_recipe, changes)
    assert made.training["betas"] == (0.9, 0.98)
    written = yaml.safe_load(made.to_yaml())["training"]
    assert (written["betas"], float(written["epsilon"]), written["decay"]) == ([0.9, 0.98], 1e-9, 0.8)
    (tiny_recipe.parent / "again.yaml").write_text(made.to_yaml())
    again = recipe.load(tiny_recipe.parent / "again.yaml")
    assert again.training == made.training
    assert again.identity("") == made.identity("") != recipe.load(tiny_recipe).identity("")
    with pytest.raises(SereneError, match=r"training\.betas is "):
        recipe.load(tiny_recipe, ["training.betas=[0.9]"])


# --- partners


SPREAD = [round(value) for value in np.random.default_rng(1).lognormal(3.2, 0.6, 64).clip(5, 120)]  # frames


class Watched(LabelAdaptiveMixup):
    """Notes who was mixed with whom, and the labels that came of it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**({"probability": 1.0} | settings))
        self.pairs: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.own_weights: list[float] = []

    def mix(self, own: Frames, other: Frames, batch: Batch, partners: Batch) -> tuple[Frames, Tensor]:
        self.pairs.append((batch.ids, partners.ids))
        return super().mix(own, other, batch, partners)

    def weights(self, share: Tensor, length: Tensor, other_length: Tensor) -> Tensor:
        found = super().weights(share, length, other_length)
        self.own_weights += found.tolist()
        return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A training of 40 epochs of 16 steps."""
    method, model = Watched(), simple()
    method.attach(model, 2)
    fit(method, model, clips(SPREAD), tmp_path_factory.mktemp("watched"), epochs=40, optimizer="adam")
    return method


def test_partners_are_drawn_evenly_from_the_whole_training_part(watched: Watched) -> None:
    assert len(watched.pairs) == 40 * 16
    assert all(len(own) == len(partners) == 4 for own, partners in watched.pairs)
    drawn = Counter(name for _, partners in watched.pairs for name in partners)
    each = 40 * 64 / 64
    assert drawn.keys() == {str(n) for n in range(64)}
    chi_squared = sum((count - each) ** 2 / each for count in drawn.values())
    assert 63 - 4 * math.sqrt(2 * 63) < chi_squared < 63 + 4 * math.sqrt(2 * 63)
    assert len({partners for _, partners in watched.pairs}) > 630, "other ones in every step and epoch"


def test_partners_are_not_of_like_length(watched: Watched) -> None:
    """A batch holds clips of like length; who is drawn for it does not depend on that."""
    own, others = ([SPREAD[int(name)] for pair in watched.pairs for name in pair[side]] for side in (0, 1))
    within = [np.std([math.log(SPREAD[int(name)]) for name in names]) for names, _ in watched.pairs]
    assert np.mean(within) < 0.1
    assert abs(np.corrcoef(own, others)[0, 1]) < 4 / math.sqrt(len(own))
    assert np.std(np.log(others)) == pytest.approx(np.std(np.log(SPREAD)), rel=0.1)


def test_the_weights_of_labels_spread_as_the_corpuss_durations_do(watched: Watched) -> None:
    """Among clips of like length all weights are near a half: label-adaptive mixup would be the conventional one."""
    found = np.array(watched.own_weights)
    every_pair = np.array([a / (a + b) for a in SPREAD for b in SPREAD])
    alike = np.array(
        [SPREAD[int(a)] / (SPREAD[int(a)] + SPREAD[int(b)]) for own, _ in watched.pairs for a in own for b in own]
    )
    for share in (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98):
        assert np.quantile(found, share) == pytest.approx(np.quantile(every_pair, share), abs=0.025), share
    assert found.std() == pytest.approx(every_pair.std(), rel=0.05)
    assert alike.std() < every_pair.std() / 4


def test_who_is_mixed_with_whom_is_a_function_of_seed_epoch_and_step(tmp_path: Path) -> None:
    found = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        method, model = Watched(probability=0.5), simple()
        method.attach(model, 2)
        fit(method, model, clips(SPREAD[:16]), tmp_path / name, epochs=3, optimizer="adam", seed=seed)
        found[name] = method.pairs, method.own_weights
    assert found["first"] == found["again"]
    assert found["first"] != found["other"]


def test_each_part_of_an_accumulated_step_has_partners_of_its_own(tmp_path: Path) -> None:
    method, model = Watched(), simple()
    method.attach(model, 2)
    fit(method, model, clips(SPREAD[:16]), tmp_path, epochs=1, optimizer="adam", accumulate=2)
    assert [len(partners) for _, partners in method.pairs] == [4] * 4
    assert len({partners for _, partners in method.pairs}) == 4


def test_a_clip_and_its_partner_are_augmented_apart(made_up_manifest: Manifest, tmp_path: Path) -> None:
    """One clip is the whole corpus, so that every partner is the clip itself: only the gains tell them apart."""
    pairs: list[tuple[Tensor, Tensor]] = []

    class Pairs(LabelAdaptiveMixup):
        def mix(self, own: Frames, other: Frames, batch: Batch, partners: Batch) -> tuple[Frames, Tensor]:
            pairs.append((batch.inputs[:, :, 0], partners.inputs[:, :, 0]))
            return super().mix(own, other, batch, partners)

    clip = made_up_manifest.utterances[0]
    store, known = Store(tmp_path, Waveform(longest=0.2)), {"task": Task((clip.emotion, "none")), "speakers": ("A",)}
    train = Dataset([clip] * 2, store, augment=Augment({"gain": 1.0}, 1.0), **known)
    method, model = Pairs(), simple(width=1)
    method.attach(model, 1)
    fit(method, model, train, tmp_path / "run", epochs=2)
    gains = [float(row.abs().max()) for own, partners in pairs for row in (*own, *partners)]
    assert len(gains) == 8 == len(set(gains))


# --- resuming


@pytest.mark.parametrize("settings", [{}, {"mixup": "conventional", "beta": 1.0}, {"mixup": "none"}])
def test_a_training_that_was_stopped_ends_with_the_same_weights(settings: dict[str, Any], tmp_path: Path) -> None:
    def new() -> tuple[EmotionModel, LabelAdaptiveMixup]:
        torch.manual_seed(0)
        model = EmotionModel(EMOTIONS, 5)  # TDNN-BiLSTM with its dropout
        method = LabelAdaptiveMixup(**settings)
        method.attach(model, 2)
        return model, method

    training = {"epochs": 4, "batch_size": 8, "optimizer": "adam", "betas": (0.9, 0.98), "schedule": "decay"}
    train = clips(SPREAD[:24])
    model, method = new()
    whole = fit(method, model, train, tmp_path / "whole", **training)

    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    stopped, its_method = new()
    with pytest.raises(KeyboardInterrupt):
        fit(its_method, stopped, train, tmp_path / "parts", on_epoch=stop, **training)
    again, its_method = new()
    torch.manual_seed(99)
    rest = fit(its_method, again, train, tmp_path / "parts", **training)
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in ended.rows] for ended in (whole, rest)]
    assert timeless[0] == timeless[1]
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert torch.equal(its_method.centres, method.centres)
    assert not torch.equal(new()[1].centres, method.centres)


# --- a whole run


KANG = [
    "model={encoder: hubert, layers: 1, attention_output_dropout: 0.4, pooling: first_frame, head: linear}",
    "model.hidden=[8]",
    "model.config={model_type: hubert, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2}",
    *("model.config.intermediate_size=16", "model.config.conv_dim=[16, 16, 16, 16, 16, 16, 16]"),
    "features={longest: 0.4, augment: {gain: 0.3, polarity_inversion: 0.9}, augment_probability: 0.8}",
    "method={name: label_adaptive_mixup}",
    "training={epochs: 2, batch_size: 8, optimizer: adam, learning_rate: 1e-3, betas: [0.9, 0.98], schedule: decay}",
    "protocol.run=1",
]


def test_a_small_random_hubert_runs_through(tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_probes, "speaker_probe", partial(embedding_probes.speaker_probe, draws=1))
    run = train(recipe.load(tiny_recipe, KANG), tmp_path)
    (done,) = run.finished()
    terms = {
        "emotion/emotion",
        "emotion/centre",
        "emotion/accuracy",
        "emotion/all_gradient",
        "emotion/centres_gradient",
    }
    for row in done.log():
        assert terms <= row.keys()
        assert row["emotion/centre"] == pytest.approx(0.002 * 8 * 2, rel=0.9)  # both are near N(0, 1) in 8 features
    shipped = safetensors.torch.load_file(done.folder / "model" / "model.safetensors")
    assert not [name for name in shipped if "centre" in name]
    preprocessor = json.loads((done.folder / "model" / "preprocessor_config.json").read_text())
    assert preprocessor == {"front_end": "waveform", "longest": 0.4, "fill": "none", "scale": "none"}
    assert not list(done.folder.rglob("training.pt"))


def refused(tiny_recipe: Path, folder: Path, *changes: str) -> str:
    with pytest.raises(SereneError) as caught:
        train(recipe.load(tiny_recipe, [*KANG, *changes]), folder)
    assert not list(folder.rglob("log.jsonl")), "something was trained"
    assert not list(folder.rglob("predictions.csv"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("method.probability=1.5", "method.probability is 1.5; a number from 0 to 1 was expected."),
        ("method.probability=-1", "method.probability is -1.0; a number from 0 to 1 was expected."),
        ("method.mixup=manifold", "method label_adaptive_mixup.mixup is 'manifold': input should be 'none'"),
        ("features.augment.gain=2", "features.augment.gain is 2.0; a probability from 0 to 1 was expected."),
        ("features.augment.echo=0.5", "Unknown change of waveforms 'echo'. Choices: clipping_distortion, gain, "),
        ("features.augment_probability=2", "features.augment_probability is 2.0; a probability from 0 to 1"),
        ("features={fill: mean}", "features.fill needs features.longest: the seconds up to which clips are filled."),
        ("labels.use=[anger, contempt]", "No utterance has the emotion 'contempt'. The corpus has: anger"),
        ("labels.target=votes", "Listeners' votes hold no two different classes. The corpus has: no votes at all."),
        ("training.betas=[0.9, 1]", "training.betas is [0.9, 1.0]; two numbers from 0 to below 1 were expected."),
        ("model.layers=3", "model.layers is 3, but the encoder has 2 layers; 1 to 2 was expected."),
    ],
)
def test_mistakes_are_found_before_a_run_begins(change: str, said: str, tiny_recipe: Path, tmp_path: Path) -> None:
    assert said in refused(tiny_recipe, tmp_path, change)
    assert not list(tmp_path.glob("tiny-*"))


def test_a_dropout_that_is_none_is_found_before_anything_is_trained(tiny_recipe: Path, tmp_path: Path) -> None:
    said = refused(tiny_recipe, tmp_path, "model.attention_output_dropout=1")
    assert said == "model.attention_output_dropout is 1.0; a probability below 1 was expected."


def test_an_epoch_is_selected_and_not_the_last(tmp_path: Path) -> None:
    """The released code tests whatever weights it has when it stops; here those of the best epoch are."""

    class Fading(LabelAdaptiveMixup):
        """Learns at first, then forgets: from the third epoch on the loss is climbed."""

        def learn(self, *given: Any) -> Any:
            self.step = getattr(self, "step", -1) + 1
            sign = 1.0 if self.step < 2 * 4 else -1.0
            return {name: sign * term for name, term in super().learn(*given).items()}

    def told_apart(count: int, first: int) -> Dataset:
        part = clips([10] * count)

        class Shifted(Held):
            def get(self, audio_hash: str, _samples: object) -> np.ndarray:
                number = int(audio_hash.partition("-")[2])
                return super().get(f"10-{first + number}", None) + 3 * (number % 2)

        part.store = Shifted()  # pyright: ignore[reportAttributeAccessIssue]
        return part

    method, model = Fading(centre_weight=0.0, probability=0.0), simple()
    method.attach(model, 2)
    settings = {"epochs": 30, "patience": 4, "select_on": "validation WA", "optimizer": "adam", "learning_rate": 0.1}
    ended = fit(method, model, told_apart(16, 0), tmp_path, validation=told_apart(20, 100), **settings)
    accuracies = [row["validation_wa"] for row in ended.rows]
    assert ended.epoch == 1 + accuracies.index(max(accuracies)) <= 2
    assert accuracies[-1] < max(accuracies)
    assert len(ended.rows) == ended.epoch + 4

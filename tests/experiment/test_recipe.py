"""Recipes: what a value means, what is refused and with which words, overrides, and a run's identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from serene.audio.mfcc import Mfcc
from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.recipe_file import RECIPES, RecipeFile
from serene.experiment.sections import FeatureSettings, ModelSettings, Recipe, SpeakerSettings
from serene.models.parts import Parts
from serene.models.tdnn_bilstm import TdnnBilstm
from serene.protocols.leave_one_group_out import speaker_folds
from serene.settings import Choice

BASE = """
corpus: {name: synthetic, path: nowhere}
protocol: {name: speaker_folds, folds: 3, run: [1]}
method: {name: baseline}
"""
TWO_CORPORA = BASE.replace("baseline", "speaker_normalization") + "speakers: {name: speechocean762, path: there}\n"


def load(folder: Path, text: str = BASE, *overrides: str) -> Recipe:
    path = folder / "mine.yaml"
    path.write_text(text)
    return recipe.load(path, overrides)


def refused(folder: Path, text: str = BASE, *overrides: str) -> str:
    with pytest.raises(SereneError) as caught:
        load(folder, text, *overrides)
    return str(caught.value)


# --- values


def test_values_mean_what_they_say(tmp_path: Path) -> None:
    made = load(
        tmp_path,
        """
        corpus: {name: synthetic, path: 1e3, only: {speaker: 01, session: no, text_id: "null"}}
        labels: {use: [no, yes], join: {on: no, 1.0: yes}}
        protocol: {name: speaker_folds, folds: 3, run: [1, 02]}
        seeds: [01, 7]
        model: {dropout: .5, hidden: [128, 064], pooling: mean}
        method: {name: multi_task, speaker_weight: 2}
        training: {learning_rate: 1e-5, nesterov: no, epochs: 010, clip: null, patience: ~, weight_decay: 5e-4}
        """,
    )
    assert made.corpus.path == "1e3"  # text stays text
    assert made.corpus.only == {"speaker": "01", "session": "no", "text_id": "null"}
    assert made.labels.use == ["no", "yes"]
    assert made.labels.join == {"on": "no", "1.0": "yes"}
    assert made.run == ("1", "02")  # folds have names
    assert made.seeds == (1, 7)
    assert made.model.encoder["dropout"] == 0.5
    assert (made.model.parts.hidden, made.model.parts.pooling) == ((128, 64), "mean")
    assert (made.method.name, made.method.settings) == ("multi_task", {"speaker_weight": 2.0})
    training = made.training
    assert (training["learning_rate"], training["weight_decay"]) == (1e-5, 5e-4)
    assert training["nesterov"] is False
    assert (training["epochs"], training["clip"], training["patience"]) == (10, None, None)


def test_what_is_not_said_is_the_constructors_default(tmp_path: Path) -> None:
    made = load(tmp_path)
    assert made.name == "mine"
    assert (made.seeds, made.labels.target, made.labels.use) == ((0,), "emotion", None)
    settings = {"folds": 3, "validation": "speaker", "seed": 0}
    assert made.protocol == Choice("speaker_folds", speaker_folds, settings)
    assert made.model == ModelSettings(Choice("tdnn_bilstm", TdnnBilstm, {"size": "iemocap", "dropout": 0.5}), Parts())
    settings = {"coefficients": 13, "deltas": 2, "voice_activity": True, "energy": True}
    assert made.front_end == Choice("mfcc", Mfcc, settings)
    assert made.front_end.make().spec.width == 39
    assert made.features == FeatureSettings(normalize="training_set", enrolment_clips=None, enrolment_prior=0.0)
    assert made.speakers is None
    assert "speakers" not in made.resolved()
    assert (made.training["epochs"], made.training["optimizer"], made.training["clip"]) == (100, "sgd", 5.0)


@pytest.mark.parametrize(
    ("path", "row", "name"),
    [
        ("recipes/tu2019/emodb.yaml", "dat", "tu2019-emodb-dat"),
        ("recipes/tu2019/emodb.yaml", None, "tu2019-emodb"),
        ("recipes/old/recipes/one.yaml", None, "one"),
        ("recipes/recipes.yaml", None, "recipes"),
        ("elsewhere/one.yaml", None, "one"),
        ("elsewhere/recipes.yaml", "row", "recipes-row"),
    ],
)
def test_a_recipe_is_named_by_its_place_below_recipes(path: str, row: str | None, name: str, tmp_path: Path) -> None:
    assert RecipeFile(tmp_path / path, {}, {}, {}).name(row) == name


# --- what is refused


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        (
            "trainng: {epochs: 3}",
            "Unknown key in the recipe 'trainng'. Did you mean 'training'? Choices: calibration, ",
        ),
        ("training: {epoch: 3}", "Unknown setting in training 'epoch'. Did you mean 'epochs'? Choices: accumulate, "),
        ("labels: {target: emotion, used: [a, b]}", "Unknown setting in labels 'used'. Did you mean 'use'?"),
        ("features: {normalise: none}", "Unknown setting in features 'normalise'. Did you mean 'normalize'?"),
        ("features: {coeficients: 9}", "Unknown setting in features 'coeficients'. Did you mean 'coefficients'?"),
        ("model: {drop_out: 0}", "Unknown setting in encoder tdnn_bilstm 'drop_out'. Did you mean 'dropout'?"),
        ("corpus: {name: emodb, pth: x}", "Unknown setting in corpus 'pth'. Did you mean 'path'?"),
        (
            "protocol: {name: speaker_folds, fold: 3}",
            "Unknown setting in protocol speaker_folds 'fold'. Did you mean 'folds'?",
        ),
        (
            "method: {name: domain_adversarial, reversl: 1}",
            "Unknown setting in method domain_adversarial 'reversl'. Did you mean 'reversal'?",
        ),
        ("method: {name: baseline, reversal: 1}", "Unknown setting in method baseline 'reversal'."),
        ("corpus: {name: emodd}", "Unknown corpus 'emodd'. Did you mean 'emodb'? Choices: crema_d, emodb, "),
        ("protocol: {name: speaker_fold}", "Unknown protocol 'speaker_fold'. Did you mean 'speaker_folds'? Choices: "),
        ("method: {name: dat}", "Unknown method 'dat'. Choices: baseline, cross_gradient, domain_adversarial, "),
        (
            "features: {crop: 0.004}",
            "features.crop is 0.004 seconds, and 'tdnn_bilstm' needs 0.01 at least; take more.",
        ),
        ("features: {crop: 0}", "features.crop is 0.0; a positive number of seconds was expected."),
        (
            "features: {crop: 1, weights: somewhere}\nmodel: {encoder: frozen}",
            "features.crop takes a part of each clip, and what 'frozen' reads is stored of whole clips; drop it.",
        ),
        (
            "model: {encoder: tdnn}",
            "Unknown encoder 'tdnn'. Choices: bundled, frozen, hubert, residual_tdnn, tdnn_bilstm, whisper. Or write",
        ),
        (
            "model: {pooling: median}",
            "encoder tdnn_bilstm.pooling is 'median': input should be 'statistics', 'attentive', 'mean' or ",
        ),
        ("model: {hidden: 64}", "encoder tdnn_bilstm.hidden is '64': input should be a valid tuple"),
        (
            "labels: {target: emotions}",
            "labels.target is 'emotions': input should be 'emotion', 'emotion_perceived', ",
        ),
        (
            "labels: {target: speaker, join: {03: 08}}",
            "labels.join makes one class of several, and labels.target is speaker, which has no classes to join. Drop ",
        ),
        (
            "features: {enrolment_prior: 5}",
            "features.enrolment_clips and features.enrolment_prior are for features.normalize: speaker; drop them or",
        ),
        (
            "features: {normalize: speaker, enrolment_prior: -1}",
            "features.enrolment_prior is -1.0; a number of frames, at least 0, was expected.",
        ),
        (
            "features: {weights: facebook/hubert-base-ls960}",
            "features.weights stands for the stored outputs of a frozen encoder, and 'tdnn_bilstm' makes its own",
        ),
        ("model: {encoder: frozen}", "features.weights is missing."),
        (
            "speakers: {name: speechocean762}",
            "The method baseline learns from no speaker corpus; drop `speakers` from the recipe.",
        ),
        (
            "method: {name: speaker_normalization}",
            "The method speaker_normalization learns from a speaker corpus: add `speakers: {name: speechocean762, ",
        ),
        ("method: {name: 'my_lab:Idea'}", "Cannot import the method 'my_lab:Idea': there is no module 'my_lab'."),
        ("method: {name: 'serene:Idea'}", "Cannot import the method 'serene:Idea': 'serene' has no 'Idea'."),
        ("method: {}", "The recipe's method has no 'name'. Choices: baseline, "),
        ("corpus: {path: x}", "corpus.name is missing."),
        ("method: baseline", "'method' in the recipe is 'baseline'; a mapping was expected, such as {name: ...}."),
        ("training: {epochs: many}", "training.epochs is 'many': input should be a valid integer"),
        ("training: {epochs: 2.5}", "training.epochs is '2.5': input should be a valid integer"),
        ("training: {nesterov: maybe}", "training.nesterov is 'maybe': input should be a valid boolean"),
        (
            "training: {schedule: step}",
            "training.schedule is 'step': input should be 'constant', 'linear', 'cosine' or ",
        ),
        ("training: {epochs: null}", "training.epochs is None: input should be a valid integer"),
        ("labels: {use: anger}", "labels.use is 'anger': input should be a valid list"),
        ("protocol: {name: speaker_folds, folds: five}", "protocol speaker_folds.folds is 'five': input should be a"),
        ("protocol: {name: speaker_folds, run: []}", "protocol.run is []; a fold's name or a list of them was "),
        ("protocol: {name: speaker_folds, run: {a: 1}}", "protocol.run is {'a': '1'}; a fold's name or a list"),
        ("seeds: 3", "seeds is '3': input should be a valid tuple"),
        ("seeds: []", "seeds is []; different whole numbers from 0 were expected, such as [0, 1, 2]."),
        ("seeds: [0, 1, 0]", "seeds is [0, 1, 0]; different whole numbers"),
        ("seeds: [-1]", "seeds is [-1]; different whole numbers"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(addition: str, message: str, tmp_path: Path) -> None:
    section = addition.partition(":")[0]
    lines = [line for line in BASE.splitlines() if not line.startswith(f"{section}:")]
    assert refused(tmp_path, "\n".join([*lines, addition])).startswith(message)


# --- the speaker corpus, and what goes with an encoder


def test_the_speaker_corpus_of_a_method_that_learns_from_one(tmp_path: Path) -> None:
    made = load(tmp_path, TWO_CORPORA, "speakers.only={split: train, speaker: 01}", "speakers.crop=2")
    assert made.speakers == SpeakerSettings(
        name="speechocean762", path="there", only={"split": "train", "speaker": "01"}, crop=2.0, batch_size=32
    )
    assert load(tmp_path, TWO_CORPORA).speakers == SpeakerSettings(name="speechocean762", path="there")
    assert made.resolved()["speakers"] == asdict(made.speakers)
    another = load(tmp_path, TWO_CORPORA, "speakers.name=voxceleb1")
    assert another.speakers == SpeakerSettings(name="voxceleb1"), "the former corpus's settings are dropped"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("speakers={path: there}", "speakers.name is missing."),
        ("speakers.crops=2", "Unknown setting in speakers 'crops'. Did you mean 'crop'? Choices: batch_size, crop, "),
        ("speakers.name=voxceleb", "Unknown corpus 'voxceleb'. Did you mean 'voxceleb1'?"),
        ("speakers.crop=0", "speakers.crop is 0.0 and speakers.batch_size 32; a positive number of seconds and at "),
        ("speakers.crop=-8", "speakers.crop is -8.0 and speakers.batch_size 32; a positive number of seconds"),
        ("speakers.crop=nan", "speakers.crop is nan and speakers.batch_size 32; a positive number of seconds"),
        ("speakers.batch_size=1", "speakers.crop is 8.0 and speakers.batch_size 1; a positive number of seconds"),
        ("method.name=multi_task", "The method multi_task learns from no speaker corpus; drop `speakers` from the"),
    ],
)
def test_a_speaker_corpus_that_makes_no_sense_is_named(override: str, message: str, tmp_path: Path) -> None:
    assert refused(tmp_path, TWO_CORPORA, override).startswith(message)


@pytest.mark.parametrize(
    ("model", "normalize", "front_end"),
    [
        ("{encoder: tdnn_bilstm}", "training_set", {"coefficients", "deltas", "voice_activity", "energy"}),
        ("{encoder: hubert, weights: x}", "utterance", {"longest", "fill", "scale"}),
        ("{encoder: frozen}", "none", {"weights", "layers", "pooled", "length", "longest"}),
    ],
)
def test_features_are_those_of_the_encoder_standardised_as_suits_it(
    model: str, normalize: str, front_end: set[str], tmp_path: Path
) -> None:
    where = ["features.weights=x"] if "frozen" in model else []
    made = load(tmp_path, BASE, f"model={model}", *where)
    assert (made.features.normalize, made.front_end.settings.keys()) == (normalize, front_end)
    other = load(tmp_path, BASE, f"model={model}", *where, "features.normalize=speaker")
    assert other.features.normalize == "speaker"
    assert {*asdict(made.features), *made.front_end.settings} == made.resolved()["features"].keys()


@pytest.mark.parametrize("section", ["corpus", "protocol", "method"])
def test_a_missing_section_is_named(section: str, tmp_path: Path) -> None:
    tree = yaml.safe_load(BASE)
    del tree[section]
    assert refused(tmp_path, yaml.safe_dump(tree)) == (
        f"The recipe has no '{section}'; corpus, protocol and method are needed."
    )


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    assert "is empty or no mapping" in refused(tmp_path, "")
    assert "is empty or no mapping" in refused(tmp_path, "- a\n- b\n")
    assert "mine.yaml is not YAML" in refused(tmp_path, "corpus: {name: [}")
    assert "mine.yaml is nested too deeply to be read" in refused(tmp_path, "a: " + "[" * 20_000)
    with pytest.raises(SereneError, match=r"Cannot read the recipe .*absent\.yaml"):
        recipe.load(tmp_path / "absent.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(SereneError, match="Cannot read the recipe"):
        recipe.load(tmp_path / "picture.yaml")


# --- overrides


def test_overrides_are_yaml_by_dotted_keys(tmp_path: Path) -> None:
    made = load(
        tmp_path,
        BASE,
        "training.learning_rate=3e-4",
        "training.clip=null",
        "seeds=[3, 4]",
        "labels.join={excitement: happiness}",
        "corpus.only.speaker=01",
        "protocol.run=2",
        "corpus.path=a=b",
    )
    assert (made.training["learning_rate"], made.training["clip"]) == (3e-4, None)
    assert (made.seeds, made.run) == ((3, 4), ("2",))
    assert made.labels.join == {"excitement": "happiness"}
    assert (made.corpus.only, made.corpus.path) == ({"speaker": "01"}, "a=b")
    assert made.protocol["folds"] == 3  # what was not overridden stays


def test_another_name_drops_the_former_ones_settings(tmp_path: Path) -> None:
    made = load(tmp_path, BASE, "protocol={name: leave_one_speaker_out}", "method.name=multi_task")
    assert made.protocol.plain("name") == {"name": "leave_one_speaker_out", "validation": "speaker", "seed": 0}
    assert made.run is None
    dat = BASE.replace("{name: baseline}", "{name: domain_adversarial, reversal: 0.3}")
    assert load(tmp_path, dat, "method.name=baseline").method.plain("name") == {"name": "baseline"}
    assert load(tmp_path, dat, "method.name=domain_adversarial").method["reversal"] == 0.3  # the same: nothing drops
    assert load(tmp_path, dat, "corpus.name=emodb").corpus.path is None  # the former corpus lay there
    assert load(tmp_path, dat, "corpus.name=emodb", "corpus.path=x").corpus.path == "x"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "The override 'epochs' is not of the form key.sub=value."),
        ("=3", "The override '=3' is not of the form key.sub=value."),
        ("training.=3", "The override 'training.=3' is not of the form key.sub=value."),
        ("training.epochs.more=3", "Unknown setting in training"),
        ("seeds.first=3", "The override 'seeds.first=3' says 'first' where a place from 0 to 0 is expected."),
        ("method=[", "the override 'method=[' is not YAML"),
        ("trainin.epochs=3", "Unknown key in the recipe 'trainin'. Did you mean 'training'?"),
    ],
)
def test_a_bad_override_is_named(override: str, message: str, tmp_path: Path) -> None:
    text = BASE + "seeds: [0]\ntraining: {epochs: 3}\n"
    if override == "training.epochs.more=3":
        message = "The override 'training.epochs.more=3' reaches into 'epochs', which is '3' and no mapping."
    assert refused(tmp_path, text, override).startswith(message)


# --- round trip and identity


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_a_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    made = load(tmp_path, BASE, "corpus.only.speaker=01", "labels.use=[no, 'null', 1e5]", "training.learning_rate=1e-5")
    (tmp_path / "mine.yaml").write_text(made.to_yaml())
    assert recipe.load(tmp_path / "mine.yaml") == made
    two = load(tmp_path, TWO_CORPORA, "model.hidden=[64]", "speakers.only.split=train")
    (tmp_path / "two.yaml").write_text(two.to_yaml())
    assert recipe.load(tmp_path / "two.yaml") == replace(two, name="two")
    for address, name in (("tu2019/iemocap.yaml:cgt", "tu2019-iemocap-cgt"), ("made_up.yaml:baseline", "baseline")):
        whole = recipe.load(RECIPES / address)
        (tmp_path / f"{name}.yaml").write_text(whole.to_yaml())
        assert recipe.load(tmp_path / f"{name}.yaml") == replace(whole, name=name)


ANOTHER = {
    "corpus.name": "emodb",
    "corpus.only": "{speaker: 01}",
    "labels.target": "emotion_perceived",
    "labels.use": "[anger, sadness]",
    "labels.join": "{excitement: happiness}",
    "protocol.name": "leave_one_speaker_out",
    "protocol.folds": "4",
    "protocol.validation": "none",
    "protocol.seed": "1",
    "features.normalize": "speaker",
    "features.coefficients": "12",
    "features.deltas": "1",
    "features.voice_activity": "no",
    "features.energy": "no",
    "features.augment_probability": "0.8",
    "features.crop": "1.5",
    "features.store": "false",
    "model.pooling": "mean",
    "model.embedding_norm": "speaker",
    "model.embedding_prior": "3.0",
    "model.projector": "gate",
    "model.hidden": "[64]",
    "model.head": "relu",
    "model.head_dropout": "0.4",
    "model.speaker_embedding": "mfcc_raw",
    "model.speaker_width": "32",
    "model.unseen_speakers": "zero",
    "model.similar_speakers": "3",
    "model.encoder": "serene.models.tdnn_bilstm:TdnnBilstm",
    "model.size": "mandarin",
    "model.dropout": "0.4",
    "method.name": "multi_task",
    "method.reversal": "0.5",
    "method.schedule": "constant",
    "method.steepness": "9",
    "training.epochs": "99",
    "training.batch_size": "16",
    "training.batch_seconds": "60",
    "training.optimizer": "adam",
    "training.learning_rate": "1e-4",
    "training.encoder_learning_rate": "1e-5",
    "training.projector_rate": "encoder",
    "training.betas": "[0.9, 0.98]",
    "training.epsilon": "1e-6",
    "training.decay": "0.9",
    "training.decay_epochs": "9",
    "training.momentum": "0.8",
    "training.nesterov": "no",
    "training.weight_decay": "1e-4",
    "training.schedule": "linear",
    "training.warmup": "0.1",
    "training.clip": "null",
    "training.accumulate": "2",
    "training.precision": "bf16",
    "training.select_on": "last",
    "training.patience": "5",
    "training.device": "cpu",
}
AUGMENT = "features.augment={gain: 0.5}"
ELSEWHERE = {"training.distribute": "fsdp", "corpus.path": "elsewhere", "protocol.run": "[2]", "seeds": "[5]"}


def test_the_identity_is_of_what_decides_a_cell(tmp_path: Path) -> None:
    text = BASE.replace("baseline", "domain_adversarial")
    made = load(tmp_path, text)
    others = {"features.enrolment_clips", "features.enrolment_prior", "features.augment"}  # need others beside them
    others |= {"features.augment_copies", "model.speaker_whitening"}
    known = ANOTHER.keys() | ELSEWHERE.keys() | others
    assert set(leaves(made.resolved())) == known, "a setting that this test does not know"
    own = made.identity("data")
    assert len(own) == 10
    assert made.identity("other data") != own
    for key, value in ELSEWHERE.items():
        assert load(tmp_path, text, f"{key}={value}").identity("data") == own, key
    others = {key: load(tmp_path, text, f"{key}={value}").identity("data") for key, value in ANOTHER.items()}
    for setting in ("enrolment_clips", "enrolment_prior"):
        enrolled = load(tmp_path, text, f"features={{normalize: speaker, {setting}: 3}}")
        others[f"features.{setting}"] = enrolled.identity("data")
    waveforms = [load(tmp_path, text, "model={encoder: hubert}", "model.config={}", *more) for more in ([], [AUGMENT])]
    others |= {"hubert": waveforms[0].identity("data"), "features.augment": waveforms[1].identity("data")}
    copies = load(tmp_path, text, AUGMENT, "features.augment_copies=2")
    others |= {"features.augment_copies": copies.identity("data")}
    resting = [load(tmp_path, text, f"model={{encoder: whisper, {more}}}") for more in ("", "speaker_whitening: 1")]
    others |= {"whisper": resting[0].identity("data"), "model.speaker_whitening": resting[1].identity("data")}
    assert len({own, *others.values()}) == len(others) + 1, others


def test_the_speaker_corpus_decides_too_but_not_where_it_lies(tmp_path: Path) -> None:
    changes = ["name=voxceleb1", "only={split: train}", "crop=4", "batch_size=16"]
    own = load(tmp_path, TWO_CORPORA).identity("data")
    others = [load(tmp_path, TWO_CORPORA, f"speakers.{change}").identity("data") for change in changes]
    assert len({own, *others}) == 5
    assert load(tmp_path, TWO_CORPORA, "speakers.path=elsewhere").identity("data") == own
    assert load(tmp_path, TWO_CORPORA.replace(", path: there", "")).identity("data") == own


@pytest.mark.parametrize("encoder", ["hubert", "frozen"])
def test_where_weights_lie_does_not_count(encoder: str, tmp_path: Path) -> None:
    """What they are does: it is part of the data's digest."""
    key = {"hubert": "model.weights", "frozen": "features.weights"}[encoder]
    here, there = (load(tmp_path, BASE, f"model.encoder={encoder}", f"{key}={place}") for place in ("here", "there"))
    assert here.identity("data") == there.identity("data")
    assert here != there
    layer = {"hubert": "model.layers=3", "frozen": "features.layers=3"}[encoder]
    other = load(tmp_path, BASE, f"model.encoder={encoder}", f"{key}=here", layer)
    assert other.identity("data") != here.identity("data")


# --- one's own method and corpus

MY_LAB = '''
"""A method and a corpus of one's own."""

from typing import Literal

from serene.corpora.manifest import Manifest, Utterance
from serene.methods.baseline import Baseline


class Mine(Baseline):
    """Cross entropy, weighed."""

    def __init__(self, *, weight: float = 2.0, how: Literal["so", "otherwise"] = "so") -> None:
        super().__init__()
        self.weight = weight

    def loss(self, model, batch, progress):
        return {name: self.weight * term for name, term in super().loss(model, batch, progress).items()}


def read(folder):
    original = Manifest.read(folder / "manifest.jsonl")
    return Manifest(tuple(u for u in original if not u.speaker.startswith("S3")))
'''


@pytest.fixture
def my_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_lab.py").write_text(MY_LAB)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.slow
def test_ones_own_method_and_corpus_are_named_by_module_and_class(my_lab: None, made_up: Path, tmp_path: Path) -> None:
    from serene.experiment.run_report import report_of
    from serene.experiment.train import train

    made = load(
        tmp_path,
        f"""
        corpus: {{name: 'my_lab:read', path: '{made_up.parent / "corpus"}'}}
        protocol: {{name: speaker_folds, folds: 4, run: 1}}
        method: {{name: 'my_lab:Mine', weight: 3}}
        training: {{epochs: 1, optimizer: adam}}
        """,
    )
    assert made.method.plain("name") == {"name": "my_lab:Mine", "weight": 3.0, "how": "so"}
    run = train(made, tmp_path / "runs")
    report = report_of(run).content
    assert (report["method"], report["corpus"]) == ("my_lab:Mine", "my_lab:read")
    assert report["n_speakers"] == 1  # four speakers are left of six
    assert "Unknown setting in method my_lab:Mine 'wait'. Did you mean 'weight'?" in refused(
        tmp_path, BASE, "method={name: 'my_lab:Mine', wait: 1}"
    )


def test_clips_are_enrolled_only_where_features_are_standardised_by_speaker(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=r"are for features\.normalize: speaker"):
        load(tmp_path, BASE, "features.enrolment_clips=3")

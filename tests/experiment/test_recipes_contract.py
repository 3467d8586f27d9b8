"""What every recipe of the project promises: it says what it is, resolves, meets a corpus, and trains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import HubertConfig, HubertModel, WhisperConfig, WhisperModel

from serene.audio.augment import AUDIOMENTATIONS
from serene.corpora.manifest import Manifest, Utterance
from serene.experiment import embedding_probes, recipe, trial
from serene.experiment.plan import Plan, make_plan, plan_pretraining, silent
from serene.experiment.recipe_file import RECIPES, find
from serene.experiment.sections import Recipe
from serene.training import pretraining, stages

EVERY = sorted(RECIPES.rglob("*.yaml"))
ENCODERS = [file for file in EVERY if "protocol" not in find(file)[0].head]  # of stages alone
ROWS = [
    f"{file}:{row}" if row else str(file)
    for file in EVERY
    if file not in ENCODERS
    for row in (find(file)[0].rows or [None])
]
IDENTITIES = json.loads((Path(__file__).parent / "recipe_identities.json").read_text())
WORDS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "excitement")


@pytest.fixture(scope="session")
def everybody(made_up: Path) -> Path:
    """The made-up speech under other names: six speakers in three sessions say every emotion once, improvising.

    Men and women, in parts that share them, so that every protocol of a recipe finds what it needs.
    """
    taken: dict[str, int] = {}
    parts = ("train",) * 6 + ("validation", "test")

    def relabelled(clip: Utterance) -> Utterance:
        place = taken[clip.speaker] = taken.get(clip.speaker, -1) + 1
        more = {"text_id": f"impro0{place % 4 + 1}", "numbers": {"expressed_intensity": 10.0 * place + len(taken)}}
        return replace(clip, emotion=WORDS[place], corpus=None, split=parts[place], **more)

    path = made_up.parent / "everybody.jsonl"
    clips = tuple(relabelled(clip) for clip in Manifest.read(made_up))
    Manifest(clips).write(path)
    Manifest(tuple(replace(clip, id=f"other-{clip.id}") for clip in clips)).write(path.with_stem("others"))
    return path


@pytest.fixture(scope="session")
def small_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a HuBERT of two layers and random weights, and a Whisper beside it, as recipes name such."""
    folder = tmp_path_factory.mktemp("weights") / "hubert"
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = HubertConfig(**sizes, conv_dim=(16,) * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)
    HubertModel(config).save_pretrained(folder)
    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    sizes |= {"decoder_layers": 1, "decoder_attention_heads": 2}
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0)
    WhisperModel(WhisperConfig(**sizes, **tokens, vocab_size=8)).save_pretrained(folder.with_name("whisper"))
    return folder


def validates(plan: Plan) -> bool:
    """Say whether its protocol holds clips out to validate on; with few clips none does."""
    return plan.recipe.protocol.settings.get("validation") != "none"


def planned(address: str, manifest: Path, weights: Path, folder: Path) -> Plan:
    """Plan a recipe with nothing changed but where its data are, how much of them and of an encoder, and how long."""
    made = recipe.load(address)
    if made.features.augment.keys() & AUDIOMENTATIONS.keys():
        pytest.importorskip("audiomentations", reason="the extra `augment` is not installed")
    changes = ["seeds=[0]", "training.epochs=1"]
    changes += [f"corpus.path={manifest}"] if made.corpus.name != "sample" else []  # which is always there
    if made.protocol.name == "speaker_holdout" and made.protocol["train"] > 1:
        changes += ["protocol.train=4", "protocol.validation=1", "protocol.test=1"]
    if made.protocol.name == "speaker_lists":
        tested, validated = sorted({clip.speaker for clip in Manifest.read(manifest)})[:2]
        changes += [f"protocol.test=[{tested}]", f"protocol.validation=[{validated}]"]
    changes += [f"speakers.path={manifest}"] if made.speakers else []
    changes += [f"features.weights={weights}"] if made.frozen_weights else []
    own = weights.with_name("whisper") if made.model.encoder.name == "whisper" else weights
    changes += [f"model.weights={own}"] if made.initial_weights else []
    changes += ["model.layers=2"] if made.model.encoder.settings.get("layers") else []
    changes += ["corpus.only={}"] if "speaker" in made.corpus.only else []
    changes += [change for number, _ in enumerate(made.stages) for change in shortened(made, number, manifest)]
    return make_plan(recipe.load(address, changes), folder)


def shortened(made: Recipe | stages.Pretraining, number: int, manifest: Path) -> list[str]:
    """Give the changes that train a stage on the made-up speech, of which every corpus but the first is a copy."""
    stage, where = made.stages[number], f"stages.{number}"
    places = (manifest, *[manifest.with_stem("others")] * (len(stage.corpora) - 1))
    corpora = [{"name": c.name, "path": str(path)} for c, path in zip(stage.corpora, places, strict=True)]
    changes = [f"{where}.corpora={json.dumps(corpora)}", f"{where}.method.clusters=4", f"{where}.training.epochs=1"]
    return changes + ([] if stage.targets.source in ("mfcc", "previous") else [f"{where}.targets={{source: mfcc}}"])


def distinct() -> Iterator[str]:
    """Give a recipe of each combination of method, protocol, features and model."""
    seen = set()
    for address in ROWS:
        made = recipe.load(address).resolved()
        made["protocol"].pop("run", None)
        made["model"].pop("layers", None)  # all are cut to two
        key = json.dumps([made[part] for part in ("labels", "protocol", "features", "model", "method")])
        if key not in seen:
            seen.add(key)
            yield address


def name(address: str | Path) -> str:
    file, row = find(address)
    return file.name(row)


def test_there_is_a_recipe_for_every_row_of_the_published_tables() -> None:
    from serene.published import TABLES

    for table in TABLES.values():
        for row in table.rows:
            if row.recipe is not None:  # a row without one is another system's, as the paper quotes it
                assert f"{RECIPES}/{row.recipe}" in ROWS


@pytest.mark.parametrize("file", EVERY, ids=name)
def test_a_recipe_says_what_it_is(file: Path) -> None:
    first = file.read_text().partition("\n")[0]
    assert first.startswith("# ")
    assert first.endswith(".")


def test_one_file_is_one_table_and_they_are_few() -> None:
    assert len(EVERY) <= 32
    assert len(ROWS) + len(ENCODERS) == len(IDENTITIES)


@pytest.mark.parametrize("address", ROWS, ids=name)
def test_a_recipe_resolves_to_what_it_always_was(address: str) -> None:
    """The hashes are those of the files that became rows: finished trainings and committed results are found again."""
    made = recipe.load(address)
    assert made.name == name(address)
    assert made.identity("x") == IDENTITIES[address.removeprefix(f"{RECIPES}/")]
    assert made.corpus.path is None  # it is the user who knows
    assert made.speakers is None or made.speakers.path is None


@pytest.mark.parametrize("corpus", ["emodb", "ravdess", "crema_d"])
def test_the_rows_of_a_corpus_share_all_but_method_and_features(corpus: str) -> None:
    """Optimiser, rate, epochs and dropout are chosen once, on SER-only's validation."""
    reference, *others = recipe.load_table(RECIPES / "tu2019" / f"{corpus}.yaml").values()
    assert reference.training["epochs"] <= 40
    for own in others:
        assert own.features.normalize == ("speaker" if own.name.endswith("_enrolled") else "training_set")
        same = {"name": "", "method": own.method, "features": own.features}
        assert replace(own, name="") == replace(reference, **same)


@pytest.mark.parametrize("address", ROWS, ids=name)
def test_a_recipe_meets_a_corpus(address: str, everybody: Path, small_encoder: Path, tmp_path: Path) -> None:
    plan = planned(address, everybody, small_encoder, tmp_path)
    assert plan.run.folder.name.startswith(f"{name(address)}-")
    shared = ("random_speaker_dependent", "official")  # the second in the made-up corpus alone
    sharing = plan.recipe.protocol.name in shared and plan.recipe.corpus.name != "sample"
    for split, own in plan.trials:
        assert split.speaker_independent is not sharing
        assert bool(split.validation) is validates(plan)
        assert not own.finished
        rated = plan.recipe.labels.target == "dimensions"
        assert {u.emotion for u in split.train} == ({None} if rated else set(plan.task.names))
        if plan.stages or plan.recipe.calibration:
            assert split.saw_unlabelled_test_audio


@pytest.mark.parametrize("file", ENCODERS, ids=name)
def test_a_recipe_of_stages_meets_its_corpora(file: Path, everybody: Path, tmp_path: Path) -> None:
    made = stages.pretraining(find(file)[0].tree(None), name(file))
    assert all(corpus.path is None for stage in made.stages for corpus in stage.corpora)
    changes = [change for number, _ in enumerate(made.stages) for change in shortened(made, number, everybody)]
    made = stages.pretraining(find(file)[0].tree(None, changes), name(file))
    for stage in plan_pretraining(made, tmp_path, silent):
        assert stage.trained
        assert set(stage.held_out.values()) == {"speakers", "texts"}


@pytest.mark.slow
@pytest.mark.parametrize("address", list(distinct()), ids=name)
def test_a_recipe_trains(
    address: str, everybody: Path, small_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # probes have tests of their own
    monkeypatch.setattr(embedding_probes, "speaker_probe", partial(embedding_probes.speaker_probe, draws=1))
    plan = planned(address, everybody, small_encoder, tmp_path)
    split, own = plan.trials[0]
    told: list[tuple[Path, int]] = []
    beginning = pretraining.compute(plan.stages[-1], silent) if plan.stages else None
    trial.train_trial(plan, split, own, beginning, False, lambda *news: told.append(news))
    assert told == [(own.folder, 1), (own.folder, 1)]
    answers = own.predictions()
    assert set(answers.part.tolist()) == {"test"} | ({"validation"} if validates(plan) else set())
    assert answers.names == plan.task.names
    if answers.task.gives == "values":
        assert answers.prediction.std(axis=0).min() > 0
    else:
        assert answers.scores.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert len(own.log()) == 1
    assert own.json("probes.json").keys() == {"test", "train"}
    around = plan.recipe.model.parts.speaker_embedding
    unlabelled = plan.recipe.features.normalize == "speaker" or around.startswith("mfcc")
    unlabelled = unlabelled or bool(plan.stages or plan.recipe.calibration)
    assert own.json("environment.json")["split"]["saw_unlabelled_test_audio"] == unlabelled

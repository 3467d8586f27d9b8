"""What a recipe says of pre-training: defaults, what they are read from, and every mistake in them by its sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.recipe_file import find
from serene.settings import CorpusSettings
from serene.training.stages import TargetSettings, pretraining, stages_of

STAGE: dict[str, Any] = {"corpora": [{"name": "synthetic"}], "method": {"name": "masked_prediction"}}
MODEL: dict[str, Any] = {"encoder": "hubert", "config": {"model_type": "hubert"}}
TRAINING: dict[str, Any] = {
    "corpus": {"name": "synthetic", "path": "made-up"},
    "protocol": {"name": "speaker_folds"},
    "method": {"name": "baseline"},
}


def alone(*stages: dict[str, Any], **more: Any) -> Any:
    return pretraining({"model": MODEL, "stages": list(stages), **more}, "tiny")


def before_training(*stages: dict[str, Any], **more: Any) -> recipe.Recipe:
    return recipe.check({**TRAINING, "model": MODEL, "stages": list(stages), **more}, "tiny")


def test_what_is_not_said_is_the_default() -> None:
    made = alone(STAGE)
    assert (made.name, made.normalize) == ("tiny", "utterance")
    assert made.encoder == {"weights": None, "config": {"model_type": "hubert"}, "checkpointing": False}
    (stage,) = made.stages
    assert stage.corpora == [CorpusSettings(name="synthetic")]
    assert stage.targets == TargetSettings() == TargetSettings(source="mfcc", layer=None, share=1.0, quantizer=None)
    assert (stage.speaker_embedding, stage.held_out_speakers, stage.held_out_texts) == ("none", 0.0, 0.0)
    assert (stage.crop, stage.seed) == (15.625, 0), "250,000 samples"
    assert stage.method["name"] == "masked_prediction"
    assert (stage.method["clusters"], stage.method["mask_probability"]) == (500, 0.8)
    assert (stage.training["select_on"], stage.training["epochs"]) == ("last", 100)


def test_words_become_what_the_signatures_say(tmp_path: Path) -> None:
    (tmp_path / "pre.yaml").write_text(
        "model: {encoder: hubert, config: {model_type: hubert, hidden_size: 64}}\n"
        "features: {normalize: none}\n"
        "stages:\n"
        "- corpora: [{name: crema_d, only: {speaker: '10*'}}]\n"
        "  targets: {source: mfcc, share: 0.1}\n"
        "  held_out_speakers: 0.05\n"
        "  seed: 3\n"
        "  method: {name: masked_prediction, clusters: 12, convolution_gradient: 1}\n"
        "  training: {epochs: 2, batch_seconds: 60, learning_rate: 1e-5, betas: [0.9, 0.98]}\n"
    )
    file, _ = find(tmp_path / "pre.yaml")
    tree = file.tree(None, ["stages.0.method.clusters=7", "stages.0.corpora.0.path=FOLDER", "stages.0.crop=4"])
    (stage,) = pretraining(tree, "pre").stages
    assert stage.corpora == [CorpusSettings(name="crema_d", path="FOLDER", only={"speaker": "10*"})]
    assert (stage.targets.share, stage.held_out_speakers, stage.seed, stage.crop) == (0.1, 0.05, 3, 4.0)
    assert (stage.method["clusters"], stage.method["convolution_gradient"]) == (7, 1.0)
    assert (stage.training["batch_seconds"], stage.training["learning_rate"]) == (60.0, 1e-5)
    assert stage.training["betas"] == (0.9, 0.98)


def test_a_corpus_lies_where_the_recipes_own_does() -> None:
    other = {**STAGE, "corpora": [{"name": "synthetic"}, {"name": "synthetic", "path": "there"}, {"name": "esd"}]}
    made = before_training(other)
    assert [corpus.path for corpus in made.stages[0].corpora] == ["made-up", "there", None]
    assert [corpus.path for corpus in stages_of({"stages": [other]}, None)[0].corpora] == [None, "there", None]


def test_a_resolved_recipe_is_read_back_as_it_was(tmp_path: Path) -> None:
    second = {**STAGE, "targets": {"source": "previous"}, "speaker_embedding": "last"}
    model = MODEL | {"speaker_embedding": "last"}
    made = before_training(STAGE, second, model=model)
    (tmp_path / "tiny.yaml").write_text(made.to_yaml())
    again = recipe.load(tmp_path / "tiny.yaml")
    assert again.stages == made.stages
    assert again.identity("data") == made.identity("data")
    plain = recipe.check({**TRAINING, "model": model}, "tiny")
    assert "stages" not in plain.resolved()
    assert plain.identity("data") == made.identity("data"), "what stages end with is among the data"
    assert json.dumps(made.resolved()["stages"]), "plain data"


def stage(**changes: Any) -> dict[str, Any]:
    return {**STAGE, **changes}


MISTAKES: dict[str, tuple[list[Any], str]] = {
    "no corpora": ([stage(corpora=[])], r"stages.0.corpora is \[\]; a list of corpora was expected, such as \[\{name"),
    "a word": ([stage(corpora="crema_d")], "stages.0.corpora is 'crema_d'; a list of corpora was expected"),
    "a mapping": ([stage(corpora={"name": "esd"})], "stages.0.corpora is {'name': 'esd'}; a list of corpora was"),
    "words": ([stage(corpora=["esd"])], r"stages.0.corpora is \['esd'\]; a list of corpora was expected"),
    "unknown corpus": ([stage(corpora=[{"name": "crema"}])], "Unknown corpus 'crema'. Did you mean 'crema_d'"),
    "typo in a corpus": (
        [stage(corpora=[{"name": "esd", "pth": "x"}])],
        "Unknown setting in stages.0.corpora 'pth'. Did you mean 'path'",
    ),
    "typo": (
        [stage(held_out_speaker=0.1)],
        "Unknown setting in stages.0 'held_out_speaker'. Did you mean 'held_out_sp",
    ),
    "place": (
        [stage(speaker_embedding="table")],
        "stages.0.speaker_embedding is 'table': input should be 'none', 'last'",
    ),
    "all speakers": ([stage(held_out_speakers=1.0)], "stages.0.held_out_speakers is 1.0; a share from 0 to below 1"),
    "texts": ([stage(held_out_texts=-0.1)], "stages.0.held_out_texts is -0.1; a share from 0 to below 1"),
    "crop": ([stage(crop=0)], "stages.0.crop is 0.0; a positive number of seconds"),
    "targets": ([stage(targets="mfcc")], "'targets' in the recipe is 'mfcc'; a mapping was expected"),
    "share": ([stage(targets={"share": 0})], "stages.0.targets.share is 0.0; a share above 0 and up to 1"),
    "layer of mfcc": ([stage(targets={"layer": 6})], "stages.0.targets.layer is 6, and 'mfcc' has no layers; drop it"),
    "first of all": ([stage(targets={"source": "previous"})], "source is 'previous', and no stage is before the first"),
    "random": (
        [stage(targets={"source": "encoder"})],
        "stages.0.targets.source is 'encoder', and this stage begins with random weights: cluster mfcc first",
    ),
    "two sources": (
        [STAGE, stage(targets={"source": "previous", "quantizer": "q.safetensors"})],
        "stages.1.targets.quantizer gives centres, and 'previous' takes those of the stage before; drop one",
    ),
    "no method": ([stage(method={})], "The recipe's stages.0 method has no 'name'. Choices: masked_prediction"),
    "emotion": (
        [stage(method={"name": "baseline"})],
        "Unknown stages.0 method 'baseline'.* Choices: masked_prediction",
    ),
    "setting of the method": (
        [stage(method={"name": "masked_prediction", "cluster": 5})],
        "Unknown setting in stages.0 method masked_prediction 'cluster'. Did you mean 'clusters'",
    ),
    "setting of the training": (
        [STAGE, stage(training={"epoch": 3})],
        "Unknown setting in stages.1.training 'epoch'. Did you mean 'epochs'",
    ),
    "training": ([stage(training=3)], "'training' in the recipe is 3; a mapping was expected"),
    "selection": (
        [STAGE, stage(training={"select_on": "validation UA"})],
        "stages.1.training.select_on is for emotions; a stage ends with its last epoch",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
@pytest.mark.parametrize("how", [alone, before_training])
def test_a_mistake_in_a_stage_is_named(case: str, how: Any) -> None:
    given, message = MISTAKES[case]
    with pytest.raises(SereneError, match=message):
        how(*given)


@pytest.mark.parametrize("given", [{"a": 1}, "pre.yaml", ["crema_d"]])
def test_stages_are_a_list_of_mappings(given: Any) -> None:
    with pytest.raises(SereneError, match=r"'stages' in the recipe is .*; a list of mappings was expected"):
        stages_of({"stages": given}, None)


def test_a_recipe_of_stages_alone_has_some_and_nothing_else() -> None:
    with pytest.raises(SereneError, match="'stages' in the recipe names no stage"):
        alone()
    with pytest.raises(SereneError, match=r"it has model, features and stages, and 'seeds' is none of them. To learn"):
        alone(STAGE, seeds=[1])
    assert before_training().stages == ()


@pytest.mark.parametrize("key", ["layers", "output", "pooling", "speaker_embedding"])
def test_what_stands_around_an_encoder_has_no_say_in_pretraining_alone(key: str) -> None:
    value = {"layers": 2, "output": "last", "pooling": "mean", "speaker_embedding": "last"}[key]
    with pytest.raises(
        SereneError, match=f"model.{key} changes nothing in pre-training, which trains all of an encoder"
    ):
        alone(STAGE, model=MODEL | {key: value})
    with pytest.raises(SereneError, match=r"Unknown setting in encoder hubert 'layer'. Did you mean 'layers'"):
        alone(STAGE, model=MODEL | {"layer": 2})


def test_stages_are_for_encoders_of_waveforms() -> None:
    wanted = "Stages pre-train an encoder of waveforms: they need model.encoder hubert and features.normalize utterance"
    with pytest.raises(SereneError, match=wanted):
        before_training(STAGE, model={"encoder": "tdnn_bilstm"})
    for normalize in ("speaker", "training_set"):
        with pytest.raises(SereneError, match=wanted):
            before_training(STAGE, features={"normalize": normalize})
    with pytest.raises(SereneError, match=r"features.normalize is 'speaker': input should be 'utterance' or 'none'"):
        alone(STAGE, features={"normalize": "speaker"})


@pytest.mark.parametrize("place", ["last", "first", "prefix"])
def test_vectors_stay_where_they_were_learned(place: str) -> None:
    personal = stage(speaker_embedding=place)
    other = {"last": "first", "first": "prefix", "prefix": "last"}[place]
    with pytest.raises(SereneError) as error:
        before_training(personal, model=MODEL | {"speaker_embedding": other})
    assert str(error.value) == (
        f"The last stage learns speakers' vectors for '{place}', and model.speaker_embedding is '{other}': name the "
        "same place in both, or none in the model, which leaves the vectors out."
    )
    for model in (place, "none"):
        assert (
            before_training(personal, model=MODEL | {"speaker_embedding": model}).stages[0].speaker_embedding == place
        )
    assert before_training(STAGE, model=MODEL | {"speaker_embedding": place}), "learned in fine-tuning alone"


def test_methods_of_pretraining_are_no_methods_of_training() -> None:
    with pytest.raises(SereneError, match="Unknown method 'masked_prediction'"):
        recipe.check({**TRAINING, "model": MODEL, "method": {"name": "masked_prediction"}}, "tiny")

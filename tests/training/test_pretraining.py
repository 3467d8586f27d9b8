"""Pre-training as stages: what is read, what decides what, killed and shared, and what fine-tuning makes of it."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from serene.audio import clusters
from serene.audio.dataset import Dataset, contexts_of
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Manifest
from serene.errors import SereneError
from serene.experiment import recipe, trial
from serene.experiment.plan import load_corpus, make_plan, silent
from serene.experiment.run import Run
from serene.experiment.train import train
from serene.files import locked
from serene.methods.masked_prediction import MaskedPrediction
from serene.models.hubert import Hubert
from serene.models.model import EmotionModel
from serene.models.scoring import score
from serene.models.speaker_embedding import PersonalVectors, vectors_of
from serene.models.training_speakers import training_clips_of
from serene.training import pretraining, stages
from serene.training.pretraining import PREDICTOR, QUANTIZER, Stage, plan_stages

CONFIG: dict[str, Any] = {
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
}
METHOD = {"name": "masked_prediction", "clusters": 4, "predictor_width": 8}
TRAINING = {"epochs": 2, "batch_seconds": 4.0, "optimizer": "adam", "learning_rate": 5e-3, "device": "cpu"}
Tree = dict[str, Any]


def first(corpus: Path, **changes: Any) -> Tree:
    """A stage of two epochs on the made-up speech, a speaker and a sentence held out."""
    plain = {"corpora": [{"name": "synthetic", "path": str(corpus)}], "method": METHOD, "training": TRAINING}
    return {**plain, "held_out_speakers": 0.2, "held_out_texts": 0.2, **changes}


def second(corpus: Path, **changes: Any) -> Tree:
    """A stage that goes on with the clusters of the one before, and learns speakers' vectors."""
    plain = first(corpus, targets={"source": "previous"}, speaker_embedding="last", held_out_speakers=0.0)
    return plain | {"training": TRAINING | {"epochs": 1}} | changes


def planned(trees: Iterable[Tree], runs: Path, config: Any = None, name: str = "tiny", **more: Any) -> list[Stage]:
    model = {"encoder": "hubert", "config": config or CONFIG}
    made = stages.pretraining({"model": model, "stages": list(trees), **more}, name)
    return plan_stages(made, runs, lambda corpus, where: load_corpus(corpus, runs, section=where))


def compute(stage: Stage, told: list[Any] | None = None) -> Path:
    return pretraining.compute(stage, lambda *news: None if told is None else told.append(news))


def weights_of(product: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(product / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


class Noted:
    """The ids that reached the clusters, the steps and the validations of a pre-training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clustered: list[str] = []
        self.trained: list[str] = []
        self.validated: list[str] = []
        self.last: dict[str, Any] = {}
        loss, frames, predict, keep = (
            MaskedPrediction.loss,
            pretraining.samples_of,
            MaskedPrediction._predict,
            pretraining._keep,
        )

        def noted_loss(method: MaskedPrediction, model: Any, batch: Any, progress: float) -> Any:
            self.trained += batch.ids
            return loss(method, model, batch, progress)

        def noted_predict(method: MaskedPrediction, model: Any, batch: Any, *rest: Any) -> Any:
            if not model.training:
                self.validated += batch.ids
            return predict(method, model, batch, *rest)

        def noted_frames(utterance: Any, *rest: Any) -> Any:
            self.clustered.append(utterance.id)
            return frames(utterance, *rest)

        def kept(stage: Stage, model: EmotionModel, method: MaskedPrediction) -> None:
            self.last = {"model": model, "method": method}
            keep(stage, model, method)

        monkeypatch.setattr(MaskedPrediction, "loss", noted_loss)
        monkeypatch.setattr(MaskedPrediction, "_predict", noted_predict)
        monkeypatch.setattr(pretraining, "samples_of", noted_frames)
        monkeypatch.setattr(pretraining, "_keep", kept)


@pytest.fixture(scope="module")
def whole(made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Stage]:
    """Both stages, computed without a break, and what was read in them."""
    chain = planned([first(made_up), second(made_up)], tmp_path_factory.mktemp("whole"))
    compute(chain[1])
    return chain


# --- what comes out


def test_the_product_loads_in_plain_transformers_and_gives_what_ours_gives(
    made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Noted(monkeypatch)
    (stage,) = planned([first(made_up)], tmp_path)
    product = compute(stage)
    plain = transformers.HubertModel.from_pretrained(product).eval()
    sound = torch.randn(1, 5000, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = plain(sound[:, :, 0]).last_hidden_state
        for ours in (noted.last["model"].encoder.eval(), Hubert(1, weights=str(product)).eval()):
            frames = ours(sound, torch.ones(1, 5000, dtype=torch.bool))
            assert frames.abs().max() > 0.1
            torch.testing.assert_close(frames, theirs, atol=1e-5, rtol=0)
    torch.manual_seed(stage.settings.seed)
    untrained = Hubert(1, config=CONFIG).transformer.state_dict()
    assert all(not torch.equal(tensor, untrained[name]) for name, tensor in plain.state_dict().items()), "all learned"
    extractor = transformers.AutoFeatureExtractor.from_pretrained(product)
    assert (extractor.do_normalize, extractor.sampling_rate) == (True, 16_000)


def test_a_stages_folder_says_how_it_came_about(whole: list[Stage]) -> None:
    for stage in whole:
        names = {path.name for path in stage.folder.iterdir()}
        files = {"stage.yaml", "environment.json", "log.jsonl", "steps.jsonl"}
        assert names == files | {QUANTIZER, PREDICTOR, "encoder"}, "nothing to resume from is left"
    rows = [json.loads(line) for line in (whole[0].folder / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    for group in ("speakers", "texts"):
        assert 0 < rows[1][f"validation_{group}_majority"] < 1
        assert 0 <= rows[1][f"validation_{group}_accuracy"] <= 1
        assert rows[1][f"validation_{group}_loss"] > 0
    assert rows[1]["masked/masked"] < rows[0]["masked/masked"]
    assert {"masked/accuracy", "masked/penalty", "masked/encoder_gradient"} <= rows[0].keys()
    clips = json.loads((whole[0].product / "heard.json").read_text())
    assert clips == sorted({u.audio_hash for u in whole[0].trained})
    both = json.loads((whole[1].product / "heard.json").read_text())
    assert both == sorted({u.audio_hash for stage in whole for u in stage.trained})


# --- who is trained on


def test_what_is_held_out_is_measured_and_never_trained_on(
    made_up: Path, made_up_manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Noted(monkeypatch)
    (stage,) = planned([first(made_up)], tmp_path)
    compute(stage)
    speakers = {u.speaker for u in stage.clips if stage.held_out.get(u.id) == "speakers"}
    texts = {u.text_id for u in stage.clips if stage.held_out.get(u.id) == "texts"}
    assert (len(speakers), len(texts)) == (1, 1), "a fifth of six of each"
    held = {u.id for u in made_up_manifest if u.speaker in speakers or u.text_id in texts}
    assert set(stage.held_out) == held
    rest = {u.id for u in made_up_manifest} - held
    assert Counter(noted.trained) == dict.fromkeys(rest, 2), "every other clip once an epoch"
    assert Counter(noted.validated) == dict.fromkeys(held, 2)
    assert Counter(noted.clustered) == dict.fromkeys(rest, 1)
    assert stage.known == []


def test_a_share_above_nothing_holds_somebody_out(made_up: Path, tmp_path: Path) -> None:
    for shares, count in (((0.0, 0.0), 0), ((0.01, 0.0), 1), ((0.5, 0.0), 3)):
        tree = first(made_up, held_out_speakers=shares[0], held_out_texts=shares[1])
        (stage,) = planned([tree], tmp_path)
        assert len({u.speaker for u in stage.clips if u.id in stage.held_out}) == count
    (nobody,) = planned([first(made_up, held_out_speakers=0.0, held_out_texts=0.0)], tmp_path)
    assert nobody.trained == nobody.clips


def test_clusters_are_fitted_on_a_share_of_the_clips(
    made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Noted(monkeypatch)
    (stage,) = planned([first(made_up, targets={"share": 0.25}, training=TRAINING | {"epochs": 1})], tmp_path)
    compute(stage)
    assert len(noted.clustered) == round(0.25 * len(stage.trained))
    assert set(noted.clustered) < {u.id for u in stage.trained}


def other_corpus(manifest: Manifest, folder: Path, **changes: Any) -> Path:
    """Write a manifest of the same sounds under other names."""
    Manifest(tuple(replace(u, **changes) for u in manifest)).write(folder / "other.jsonl")
    return folder / "other.jsonl"


def test_two_corpora_may_use_the_same_ids_and_names(made_up: Path, made_up_manifest: Manifest, tmp_path: Path) -> None:
    other = other_corpus(made_up_manifest, tmp_path, corpus="emodb")
    corpora = [{"name": "synthetic", "path": str(made_up)}, {"name": "emodb", "path": str(other)}]
    (stage,) = planned([first(made_up, corpora=corpora, speaker_embedding="last", held_out_speakers=0.0)], tmp_path)
    assert len({u.id for u in stage.clips}) == 96
    assert stage.known == sorted(
        f"{corpus}/{name}" for corpus in ("emodb", "synthetic") for name in made_up_manifest.speakers
    )
    with pytest.raises(SereneError, match=r"stages.0.corpora give the same clips twice; name every corpus once"):
        planned([first(made_up, corpora=[corpora[0], corpora[0]])], tmp_path)


# --- what decides what a stage makes

DECIDES: dict[str, Callable[[Tree], Any]] = {
    "clusters": lambda tree: tree.update(method=METHOD | {"clusters": 5}),
    "temperature": lambda tree: tree.update(method=METHOD | {"temperature": 0.2}),
    "rate": lambda tree: tree.update(training=TRAINING | {"learning_rate": 2e-3}),
    "epochs": lambda tree: tree.update(training=TRAINING | {"epochs": 3}),
    "speakers": lambda tree: tree.update(held_out_speakers=0.5),
    "texts": lambda tree: tree.update(held_out_texts=0.0),
    "crop": lambda tree: tree.update(crop=0.3),
    "seed": lambda tree: tree.update(seed=1),
    "share": lambda tree: tree.update(targets={"share": 0.5}),
    "vectors": lambda tree: tree.update(speaker_embedding="last"),
    "clips": lambda tree: tree["corpora"][0].update(only={"speaker": "S1*"}),
}


@pytest.mark.parametrize("what", DECIDES)
def test_settings_and_clips_decide_and_so_does_the_stage_before(what: str, made_up: Path, tmp_path: Path) -> None:
    changed = first(made_up)
    DECIDES[what](changed)
    before, after = (planned([tree, second(made_up)], tmp_path) for tree in (first(made_up), changed))
    assert before[0].identity != after[0].identity
    assert before[1].identity != after[1].identity, "it goes on with another encoder"
    assert before[1].settings == after[1].settings


def test_the_encoder_and_what_it_reads_decide(made_up: Path, tmp_path: Path) -> None:
    tree = first(made_up)
    (plain,), (wider,) = planned([tree], tmp_path), planned([tree], tmp_path, config=CONFIG | {"hidden_size": 32})
    (raw,) = planned([tree], tmp_path, features={"normalize": "none"})
    assert len({plain.identity, wider.identity, raw.identity}) == 3


@pytest.mark.parametrize("column", ["speaker", "text_id", "audio_hash"])
def test_what_a_clip_is_decides(column: str, made_up: Path, made_up_manifest: Manifest, tmp_path: Path) -> None:
    clips = list(made_up_manifest)
    clips[3] = replace(clips[3], **{column: "another"})
    Manifest(tuple(clips)).write(tmp_path / "other.jsonl")
    (ours,), (theirs,) = (planned([first(path)], tmp_path) for path in (made_up, tmp_path / "other.jsonl"))
    assert ours.identity != theirs.identity


def test_places_names_labels_and_what_comes_after_do_not(
    made_up: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    (plain,) = planned([first(made_up)], tmp_path)
    clips = [replace(u, emotion="neutral", arousal=1.0, audio=str(Path(u.audio).resolve())) for u in made_up_manifest]
    (tmp_path / "elsewhere").mkdir()
    Manifest(tuple(reversed(clips))).write(tmp_path / "elsewhere" / "moved.jsonl")
    (moved,) = planned([first(tmp_path / "elsewhere" / "moved.jsonl")], tmp_path / "runs")
    assert moved.identity == plain.identity
    longer = planned([first(made_up), second(made_up), second(made_up, seed=3)], tmp_path, name="other")
    assert longer[0].identity == plain.identity
    assert len({stage.identity for stage in longer}) == 3
    assert plain.folder == tmp_path / "stages" / plain.identity


def test_weights_decide_by_their_content(whole: list[Stage], made_up: Path, tmp_path: Path) -> None:
    def begun(folder: Path) -> Stage:
        made = stages.pretraining({"model": {"weights": str(folder)}, "stages": [first(made_up)]}, "tiny")
        return plan_stages(made, tmp_path, lambda corpus, where: load_corpus(corpus, tmp_path))[0]

    shutil.copytree(whole[0].product, tmp_path / "copy")
    assert begun(tmp_path / "copy").identity == begun(whole[0].product).identity != begun(whole[1].product).identity


# --- killed, resumed, shared


class Killed(Exception):
    """As an interruption would end a process at this point."""


@pytest.mark.parametrize(
    "moment",
    [("fitting clusters", 3), ("clusters", 7), ("pre-training", 1), ("pre-training", 2), ("kept", 0)],
    ids=lambda moment: f"{moment[0]} {moment[1]}",
)
def test_killed_and_begun_again_it_ends_with_the_same_weights(
    moment: tuple[str, int], whole: list[Stage], made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stage,) = planned([first(made_up)], tmp_path)
    assert stage.identity == whole[0].identity

    def until(what: str, done: int, _of: int) -> None:
        if (what, done) == moment:
            raise Killed

    def keep(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        if moment[0] == "kept":
            patch.setattr(pretraining.pretrained, "silence", keep)
        pretraining.compute(stage, until)
    assert not stage.product.exists()
    told: list[Any] = []
    compute(stage, told)
    epochs = [done for what, done, _ in told if what == "pre-training"]
    assert epochs == {("pre-training", 1): [2], ("pre-training", 2): [], ("kept", 0): []}.get(moment, [1, 2])
    assert bool([what for what, *_ in told if what == "fitting clusters"]) == (moment[0] == "fitting clusters")
    for name in (QUANTIZER, PREDICTOR, "encoder/model.safetensors"):
        assert (stage.folder / name).read_bytes() == (whole[0].folder / name).read_bytes(), name
    rows = [[json.loads(row) for row in (s.folder / "log.jsonl").read_text().splitlines()] for s in (stage, whole[0])]
    assert [row | {"seconds": 0} for row in rows[0]] == [row | {"seconds": 0} for row in rows[1]]


def test_two_computations_of_one_stage_are_kept_apart(made_up: Path, tmp_path: Path) -> None:
    (stage,) = planned([first(made_up)], tmp_path)
    with locked(stage.folder), pytest.raises(SereneError, match=r"Another process is writing .*; wait until it has"):
        compute(stage)
    assert not stage.product.exists()


def test_a_stage_is_computed_once_for_all_that_begin_with_it(whole: list[Stage], made_up: Path, tmp_path: Path) -> None:
    shutil.copytree(whole[0].runs, tmp_path / "runs")
    chain = planned([first(made_up), second(made_up, seed=8)], tmp_path / "runs")
    before = {path: path.stat().st_mtime_ns for path in chain[0].folder.rglob("*")}
    told: list[Any] = []
    compute(chain[1], told)
    assert [(what, done, of) for what, done, of in told if what == "pre-training"] == [("pre-training", 1, 1)]
    assert not [what for what, *_ in told if what == "fitting clusters"]
    assert {path: path.stat().st_mtime_ns for path in chain[0].folder.rglob("*")} == before
    told.clear()
    assert compute(chain[1], told) == chain[1].product
    assert told == []


# --- one stage after the other


def test_a_stage_goes_on_with_the_clusters_and_the_predictor_of_the_one_before(
    whole: list[Stage], made_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (whole[1].folder / QUANTIZER).read_bytes() == (whole[0].folder / QUANTIZER).read_bytes()
    learned = safetensors.torch.load_file(whole[0].folder / PREDICTOR)
    model, method = pretraining._model(whole[1], 4)
    assert same(dict(method.state_dict()), learned)
    assert isinstance(model.encoder, Hubert)
    assert same(model.encoder.transformer.state_dict(), weights_of(whole[0].product))
    anew = planned([first(made_up), second(made_up, targets={"source": "mfcc"})], whole[0].runs)[1]
    fresh = dict(pretraining._model(anew, 4)[1].state_dict())
    assert fresh.keys() == learned.keys() and not same(fresh, learned), "of other clusters it knows nothing"


def test_a_predictor_of_another_shape_is_refused(whole: list[Stage], made_up: Path) -> None:
    wider = second(made_up, method=METHOD | {"predictor_width": 9})
    chain = planned([first(made_up), wider], whole[0].runs)
    with pytest.raises(SereneError, match="The predictor of the stage before does not fit this one's method: "):
        compute(chain[1])


def test_vectors_are_of_the_people_who_are_trained_on_and_are_taken_up_by_name(
    whole: list[Stage], made_up: Path, made_up_manifest: Manifest
) -> None:
    names, vectors = vectors_of(whole[1].product) or ([], torch.zeros(0))
    assert names == [f"synthetic/{name}" for name in made_up_manifest.speakers]
    assert vectors.shape == (6, 16)
    assert (vectors.abs().max(dim=1).values > 0).all(), "each has learned something"
    assert vectors_of(whole[0].product) is None
    some = second(made_up, corpora=[{"name": "synthetic", "path": str(made_up), "only": {"speaker": "S[23]*"}}])
    chain = planned([first(made_up), second(made_up), some], whole[0].runs)
    model, _ = pretraining._model(chain[2], 4)
    assert model.speakers == tuple(name for name in names if "/S1" not in name)
    table = model.speaker_embedding.vectors  # pyright: ignore[reportOptionalMemberAccess]
    for row, name in enumerate(model.speakers):
        assert torch.equal(table[row], vectors[names.index(name)])


def test_a_second_iteration_clusters_what_the_encoder_gives(whole: list[Stage], made_up: Path) -> None:
    deeper = first(made_up, targets={"source": "encoder", "layer": 1}, training=TRAINING | {"epochs": 1})
    chain = planned([first(made_up), deeper], whole[0].runs)
    compute(chain[1])
    centres = clusters.read(chain[1].folder / QUANTIZER)
    assert centres.shape == (4, 16)
    ours = planned([first(made_up, targets={"source": str(whole[0].product), "layer": 1})], whole[0].runs)[0]
    maker = pretraining._clusters(ours, lambda *_: None)
    assert maker.frame_rate == 50
    samples = pretraining.samples_of(ours.clips[0])
    encoder = Hubert(1, weights=str(whole[0].product)).eval()
    values = torch.from_numpy((samples - samples.mean()) / samples.std())[None, :, None].float()
    with torch.no_grad():
        frames = encoder(values, torch.ones(1, len(samples), dtype=torch.bool))[0].double().numpy()
    nearest = ((frames[:, None] - maker.centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (maker(samples)[:, 0] == nearest).mean() > 0.95


@pytest.mark.parametrize("place", ["last", "first"])
def test_with_vectors_that_stay_zero_papt_is_tapt(
    place: str, whole: list[Stage], made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit: nothing else about the two differs."""
    build = pretraining._model

    def frozen(*of: Any) -> Any:
        model, method = build(*of)
        if model.speaker_embedding is not None:
            assert not model.speaker_embedding.vectors.any()
            model.speaker_embedding.vectors.requires_grad_(False)
        return model, method

    def product(place: str, runs: str) -> Path:
        shutil.copytree(whole[0].runs, tmp_path / runs, dirs_exist_ok=True)
        return compute(planned([first(made_up), second(made_up, speaker_embedding=place, seed=4)], tmp_path / runs)[1])

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "_model", frozen)
        tapt, papt = product("none", "frozen"), product(place, "frozen")
    assert tapt != papt
    assert same(weights_of(tapt), weights_of(papt))
    assert (tapt.parent / PREDICTOR).read_bytes() == (papt.parent / PREDICTOR).read_bytes()
    assert not same(weights_of(tapt), weights_of(product(place, "learned"))), "else this would hold of anything"


# --- quantisers


def test_centres_that_are_given_are_used(made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    centres = np.random.default_rng(0).normal(scale=20, size=(7, 39)).astype(np.float32)
    identities = []
    for name in ("a", "b"):
        clusters.write(centres, tmp_path / f"{name}.safetensors")
        (stage,) = planned([first(made_up, targets={"quantizer": str(tmp_path / f"{name}.safetensors")})], tmp_path)
        identities.append(stage.identity)
    assert identities[0] == identities[1], "wherever the file lies"
    monkeypatch.setattr(clusters, "fit", lambda *_: pytest.fail("nothing is to be fitted"))
    noted = Noted(monkeypatch)
    compute(stage)
    assert np.array_equal(clusters.read(stage.folder / QUANTIZER), centres)
    assert noted.clustered == []
    assert noted.last["method"].codes.shape == (7, 8), "there are as many clusters as centres, whatever the recipe says"
    clusters.write(centres * 2, tmp_path / "b.safetensors")
    (other,) = planned([first(made_up, targets={"quantizer": str(tmp_path / "b.safetensors")})], tmp_path)
    assert other.identity != stage.identity


def test_centres_of_other_frames_are_refused(made_up: Path, tmp_path: Path) -> None:
    clusters.write(np.zeros((7, 13), np.float32), tmp_path / "q.safetensors")
    (stage,) = planned([first(made_up, targets={"quantizer": str(tmp_path / "q.safetensors")})], tmp_path)
    with pytest.raises(
        SereneError, match=r"The quantiser's centres are of shape \(7, 13\), .* \(cluster, 39\) was expected"
    ):
        compute(stage)


# --- fine-tuning


def tree_of(corpus: Path, trees: list[Tree], **more: Any) -> Tree:
    """A recipe that goes on from stages: arousal of the made-up speech, one fold of three."""
    model = {"encoder": "hubert", "config": CONFIG, "pooling": "mean", "hidden": [8], "head": "relu_dropout_norm"}
    return {
        "corpus": {"name": "synthetic", "path": str(corpus)},
        "labels": {"target": "dimensions", "use": ["arousal"]},
        "protocol": {"name": "speaker_folds", "folds": 3, "run": [1]},
        "model": model | more.pop("model", {}),
        "method": {"name": "baseline"},
        "training": {"epochs": 2, "batch_size": 8, "optimizer": "adam", "select_on": "validation CCC", "device": "cpu"},
        "stages": trees,
        **more,
    }


def trained(tree: Tree, runs: Path, told: list[Any] | None = None, name: str = "tiny") -> Run:
    progress = silent if told is None else lambda *news: told.append(news)
    return train(recipe.check(tree, name), runs, progress=progress)


@pytest.fixture(scope="module")
def personal(whole: list[Stage], made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model fine-tuned from both stages, with speakers' vectors; unseen speakers get the most similar people's."""
    runs = tmp_path_factory.mktemp("personal") / "runs"
    shutil.copytree(whole[0].runs, runs)
    model = {"speaker_embedding": "last", "unseen_speakers": "similar", "similar_speakers": 2}
    return trained(tree_of(made_up, [first(made_up), second(made_up)], model=model), runs)


def scored_again(run: Run, folder: Path) -> None:
    """Score a trial's test clips with its model folder, moved, and compare with what the trial kept."""
    (finished,) = run.finished()
    shutil.copytree(finished.folder / "model", folder)
    model = EmotionModel.load(folder)
    (split, _), *_ = make_plan(run.recipe, run.folder.parent).trials
    store = Store(folder, Waveform())
    contexts = contexts_of(split.test, model.needs, store, known=model.speakers)
    outputs = score(model, Dataset(split.test, store, task=model.task, speakers=(), contexts=contexts)).outputs
    kept = finished.predictions().select(part="test")
    assert kept.id.tolist() == [u.id for u in split.test]
    shown = kept.scores[:, 0]
    assert shown == pytest.approx(outputs[:, 0], abs=2e-4)
    assert np.ptp(shown) > 0


def test_fine_tuning_takes_up_the_encoder_and_says_whose_audio_it_was_trained_on(
    personal: Run, whole: list[Stage], made_up: Path, tmp_path: Path
) -> None:
    report = json.loads((personal.folder / "report.json").read_text())
    assert report["saw_unlabelled_test_audio"] is True
    (finished,) = personal.finished()
    trained = {u.id for stage in whole for u in stage.trained}
    test = set(finished.predictions().select(part="test").id.tolist())
    assert f"test speakers are enrolled with {len(trained & test)} unlabelled clips of their own" in report["stamps"]
    assert not any("random weights" in stamp for stamp in report["stamps"]), "it did not begin with random ones"
    assert {"value", "low", "high"} <= report["metrics"]["ccc_arousal"].keys()
    assert "stages:" in report["recipe"]
    scored_again(personal, tmp_path / "moved")


def test_the_shipped_model_has_the_vectors_of_pretraining_and_training(personal: Run, whole: list[Stage]) -> None:
    (finished,) = personal.finished()
    model = EmotionModel.load(finished.folder / "model")
    names, vectors = vectors_of(whole[1].product) or ([], torch.zeros(0))
    assert list(model.speakers) == names
    table = model.speaker_embedding
    assert isinstance(table, PersonalVectors)
    people = {f"synthetic/{u.speaker}" for u in make_plan(personal.recipe, personal.folder.parent).splits[0].train}
    for row, name in enumerate(names):
        learned = not torch.equal(table.vectors[row], vectors[row])
        assert learned == (name in people), "those who are not in the training part keep what pre-training gave them"
        assert bool(table.voices[row].any()) == (name in people)


@pytest.mark.slow
def test_stages_are_shared_by_folds_seeds_and_recipes(made_up: Path, tmp_path: Path) -> None:
    tree = first(made_up, training=TRAINING | {"epochs": 1})
    quick = {"epochs": 1, "batch_size": 16, "select_on": "last", "device": "cpu"}
    folds = {"name": "speaker_folds", "folds": 3, "run": [1, 2]}
    told: list[Any] = []
    one = trained(tree_of(made_up, [tree], protocol=folds, seeds=[0, 1], training=quick), tmp_path, told)
    assert len(one.finished()) == 4
    assert [done for what, done, _ in told if what == "pre-training"] == [1]
    told.clear()
    classes = tree_of(made_up, [tree], labels={}, training=quick)
    other = trained(classes, tmp_path, told, "classes")
    assert other.folder != one.folder
    assert not [news for news in told if news[0] in ("pre-training", "fitting clusters", "clusters")]
    assert len(list((tmp_path / "stages").iterdir())) == 1
    scored_again(other, tmp_path / "moved")
    assert json.loads((other.folder / "report.json").read_text())["saw_unlabelled_test_audio"] is True
    told.clear()
    shutil.rmtree(tmp_path / "stages")
    assert trained(classes, tmp_path, told, "classes").folder == other.folder
    assert not [news for news in told if news[0] == "pre-training"], "what is finished needs no stage"


def test_audio_of_another_corpus_is_not_the_test_speakers(
    made_up: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    other = other_corpus(made_up_manifest, tmp_path, corpus="emodb", audio_hash=None)
    tree = first(made_up, corpora=[{"name": "emodb", "path": str(other)}])
    planned_run = make_plan(recipe.check(tree_of(made_up, [tree]), "tiny"), tmp_path / "runs")
    assert not planned_run.splits[0].saw_unlabelled_test_audio
    calibrated = tree_of(made_up, [tree], calibration={"neighbours": 2})
    for split in make_plan(recipe.check(calibrated, "tiny"), tmp_path / "runs").splits:
        assert split.saw_unlabelled_test_audio, "calibration uses the test speakers still"


def test_an_encoder_that_was_pretrained_here_says_so_wherever_it_goes(
    whole: list[Stage], made_up: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    """As a folder of weights it brings the people it knows, and whom it was trained on."""
    shutil.copytree(whole[1].product, tmp_path / "encoder")
    given = {"weights": str(tmp_path / "encoder"), "config": None, "speaker_embedding": "last"}
    tree = tree_of(made_up, [], model=given)
    made = make_plan(recipe.check(tree, "tiny"), tmp_path / "runs")
    trained = {u.id for stage in whole for u in stage.trained}
    for split in made.splits:
        assert {u.id for u in split.unlabelled} == trained
        assert split.saw_unlabelled_test_audio
    assert list(trial.known_to(made.recipe, made.splits[0], None)) == [
        f"synthetic/{s}" for s in made_up_manifest.speakers
    ]
    frozen = {"weights": str(tmp_path / "encoder")}
    probed = tree | {"features": frozen, "model": {"encoder": "frozen"}}
    assert all(s.saw_unlabelled_test_audio for s in make_plan(recipe.check(probed, "tiny"), tmp_path).splits)
    (tmp_path / "encoder" / "heard.json").unlink()  # as a folder of somebody else
    assert not any(s.unlabelled for s in make_plan(recipe.check(tree, "tiny"), tmp_path).splits)


def test_vectors_that_cannot_be_read_are_named(whole: list[Stage], tmp_path: Path) -> None:
    shutil.copytree(whole[1].product, tmp_path / "encoder")
    (tmp_path / "encoder" / "speakers.safetensors").write_bytes(pickle.dumps([1]))
    with pytest.raises(SereneError, match=r"The speakers' vectors in .*encoder are not readable"):
        vectors_of(tmp_path / "encoder")
    (tmp_path / "encoder" / "heard.json").write_text("{")
    with pytest.raises(SereneError, match=r"heard.json is not readable"):
        training_clips_of(str(tmp_path / "encoder"))


# --- mistakes


def test_too_few_frames_lose_nothing(made_up: Path, tmp_path: Path) -> None:
    """Some clips of half a second have about 48 frames each."""
    few = [{"name": "synthetic", "path": str(made_up), "only": {"id": "S1F_00[12]"}}]
    tree = first(made_up, corpora=few, held_out_speakers=0.0, held_out_texts=0.0, method=METHOD | {"clusters": 400})
    (stage,) = planned([tree], tmp_path)
    with pytest.raises(SereneError, match=r"400 clusters were asked for, and there are \d+ frames to fit them on"):
        compute(stage)
    assert not (stage.folder / QUANTIZER).exists()
    (fewer,) = planned([tree | {"method": METHOD, "training": TRAINING | {"epochs": 1}}], tmp_path)
    assert compute(fewer).is_dir()


MISTAKES: dict[str, tuple[Callable[[Tree, Path], Any], str]] = {
    "a pickle": (
        lambda tree, folder: tree.update(targets={"quantizer": str(folder / "km.bin")}),
        r"km.bin is not a quantiser .* a pickle, which can run code and is not loaded: save its cluster_centers_",
    ),
    "no quantiser": (
        lambda tree, folder: tree.update(targets={"quantizer": str(folder / "none")}),
        r"none is not a quantiser \(.*No such file",
    ),
    "no encoder": (
        lambda tree, _: tree.update(targets={"source": "mfccs"}),
        r"There is no folder 'mfccs'; name one that holds a model",
    ),
    "nobody is left": (
        lambda tree, _: tree["corpora"][0].update(only={"speaker": "S1F"}),
        r"stages.0 holds out every clip; hold out less, or give it more speakers",
    ),
    "no path": (
        lambda tree, _: tree.update(corpora=[{"name": "crema_d"}]),
        r"does not say where the corpus 'crema_d' lies: add stages.0.corpora.0.path=FOLDER",
    ),
    "no clips": (
        lambda tree, _: tree["corpora"][0].update(only={"speaker": "X*"}),
        r"No utterance matches .*; check the patterns of `stages.0.corpora.0.only`",
    ),
    "a method that cannot be": (
        lambda tree, _: tree.update(method=METHOD | {"temperature": 0.0}),
        r"method.temperature 0.0; at least 2, at least 1 and a positive number",
    ),
    "a training that cannot be": (
        lambda tree, _: tree.update(training=TRAINING | {"batch_seconds": -1}),
        r"training.batch_seconds is -1.0; a positive number was expected",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_found_before_anything_is_computed(case: str, made_up: Path, tmp_path: Path) -> None:
    (tmp_path / "km.bin").write_bytes(pickle.dumps({"cluster_centers_": [1.0]}))
    change, message = MISTAKES[case]
    tree = first(made_up)
    change(tree, tmp_path)
    with pytest.raises(SereneError, match=message):
        make_plan(recipe.check(tree_of(made_up, [tree]), "tiny"), tmp_path / "runs")
    assert not (tmp_path / "runs" / "stages").exists()
    with pytest.raises(SereneError, match=message):
        _ = planned([tree], tmp_path)[0].identity


def test_unseen_speakers_that_are_refused_end_the_training_with_a_sentence(
    whole: list[Stage], made_up: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole[0].runs, tmp_path / "runs")
    some = second(made_up, corpora=[{"name": "synthetic", "path": str(made_up), "only": {"speaker": "S1*"}}])
    model = {"speaker_embedding": "last", "unseen_speakers": "refuse"}
    with pytest.raises(SereneError, match="This model knows 2 speakers by name, and was given another"):
        trained(tree_of(made_up, [first(made_up), some], model=model), tmp_path / "runs")


def test_the_command_line_makes_an_encoder(serene: Callable[..., Any], made_up: Path, tmp_path: Path) -> None:
    tree = {"model": {"encoder": "hubert", "config": CONFIG}, "stages": [first(made_up)]}
    (tmp_path / "pre.yaml").write_text(json.dumps(tree))
    words = ("train", tmp_path / "pre.yaml", "stages.0.training.epochs=1", "-o", tmp_path / "runs")
    printed = serene(*words)
    assert printed.code == 0, printed.err
    (product,) = (tmp_path / "runs" / "stages").glob("*/encoder")
    assert "speakers accuracy" in printed.out and "texts majority" in printed.out
    assert str(product).replace("\n", "") in printed.out.replace("\n", "")
    assert transformers.HubertModel.from_pretrained(product).config.hidden_size == 16
    again = serene(*words, "--json").json
    assert again["encoder"] == str(product)
    assert [row["epoch"] for row in again["log"]] == [1]

"""A cell's recipe: the paper's with the paper's corpora, changed as little as other corpora need, or their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from serene.errors import SereneError
from serene.experiment.recipe_file import RECIPES
from serene.experiment.sections import Recipe
from serene.published import TABLES, Column, Row
from serene.reproduce import row_recipes
from serene.reproduce.row_recipes import Corpora, RowRecipes

GAT, PROBE = TABLES["gat2022-table1"], TABLES["gat2022-probe"]
PAPERS = Corpora(("iemocap", "/i"), ("voxceleb1", "/v"))
OPEN = Corpora(("crema_d", "/c"), ("speechocean762", "/s"))
ROWS = {row.name: row for row in (*GAT.rows, *PROBE.rows)}
COLUMNS = {column.name: column for column in GAT.columns}


def made(recipes: RowRecipes, row: str, column: str = "5-fold WA", extra: tuple[str, ...] = ()) -> Recipe:
    found = recipes.of(ROWS[row], COLUMNS[column], extra)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("data", "emotion", "speakers"),
    [
        ({"voxceleb1": "v", "iemocap": "i"}, "iemocap", "voxceleb1"),
        ({"crema_d": "c", "speechocean762": "s"}, "crema_d", "speechocean762"),
        ({"speechocean762": "s", "emodb": "e"}, "emodb", "speechocean762"),
        ({"emodb": "e", "crema_d": "c"}, "emodb", "crema_d"),  # none is a speaker corpus by name: the second
        ({"voxceleb1": "v", "table": "t"}, "table", "voxceleb1"),
    ],
)
def test_which_corpus_is_which(data: dict[str, str], emotion: str, speakers: str) -> None:
    given = Corpora.given(GAT, "gat2022-table1", data)
    assert given == Corpora((emotion, data[emotion]), (speakers, data[speakers]))
    assert given.names == (emotion, speakers)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, ("--data iemocap=FOLDER --data voxceleb1=FOLDER.", "sail.usc.edu", "vgg/data/voxceleb", "hours on a GPU")),
        ({"iemocap": "i"}, ("facebook/hubert-base-ls960 and facebook/hubert-large-ll60k", "--weights NAME=FOLDER")),
        ({"iemocap": "i", "voxceleb": "v"}, ("Unknown corpus 'voxceleb'. Did you mean 'voxceleb1'?",)),
        ({"voxceleb1": "v", "speechocean762": "s"}, ("speechocean762 has no emotions",)),
    ],
)
def test_what_is_missing_is_said(data: dict[str, str], said: tuple[str, ...]) -> None:
    with pytest.raises(SereneError) as caught:
        Corpora.given(GAT, "gat2022-table1", data)
    assert all(part in str(caught.value) for part in said), caught.value


def test_the_papers_corpora_take_the_papers_recipes() -> None:
    recipes = RowRecipes(table=GAT, corpora=PAPERS)
    base, large = made(recipes, "HuBERT Base + TAP"), made(recipes, "HuBERT Large + TAP")
    for one in (base, large):
        assert (one.name, one.corpus.path, one.method["strategy"]) == ("gat2022-iemocap-tap", "/i", "tap")
        assert one.protocol.plain("name") == {"name": "leave_one_session_out", "validation": "random20", "seed": 0}
        assert one.speakers is not None
        assert (one.speakers.path, one.speakers.only, one.speakers.crop) == ("/v", {"split": "train"}, 8.0)
        assert one.method["step"] == 1e-3
    assert (base.model.encoder["weights"], large.model.encoder["weights"]) == GAT.weights
    assert (base.training["encoder_learning_rate"], large.training["encoder_learning_rate"]) == (3e-5, 1e-5)
    assert recipes.differences() == []
    snp = made(recipes, "HuBERT Base + SNP")
    assert (snp.model.parts.projector, base.model.parts.projector) == ("relu", "none")
    assert made(recipes, "HuBERT Base").speakers is None


def test_columns_change_the_protocol_alone() -> None:
    recipes = RowRecipes(table=GAT, corpora=PAPERS)
    own = made(recipes, "HuBERT Base")
    dependent = made(recipes, "HuBERT Base", "speaker-dependent WA")
    assert dependent.protocol.name == "random_speaker_dependent"
    assert dependent.protocol["repeats"] == 5
    area = COLUMNS["AUC"]
    assert list(area.steps) == [10, 20, 50, 100, 200, 400, 600]
    low = [made(recipes, "HuBERT Base", "AUC", step).protocol for step in area.steps.values()]
    assert [protocol["per_class"] for protocol in low] == list(area.steps)
    assert {(p.name, p["of"], p["subsets"], p["validation"]) for p in low} == {
        ("low_resource", "leave_one_session_out", 5, "random20")
    }
    for one in (dependent, made(recipes, "HuBERT Base", "AUC")):
        assert (one.model, one.method, one.training) == (own.model, own.method, own.training)


def test_a_figures_points_are_the_steps_of_its_area() -> None:
    """So that the two share their runs."""
    recipes = RowRecipes(table=GAT, corpora=PAPERS)
    points = {column.name: column for column in TABLES["gat2022-figure2"].columns}
    for x, step in COLUMNS["AUC"].steps.items():
        assert recipes.of(ROWS["HuBERT Base"], points[f"{x:g}"]) == made(recipes, "HuBERT Base", "AUC", step)


def test_overrides_come_last_and_reach_what_a_row_stands_on() -> None:
    recipes = RowRecipes(table=PROBE, corpora=PAPERS, overrides=("training.epochs=7", "upstream.training.epochs=3"))
    row, column = ROWS["fine-tuned with TAP"], PROBE.columns[0]
    upstream, own = recipes.upstream(row), recipes.of(row, column, ("features.weights=beneath",))
    assert upstream is not None
    assert own is not None
    assert (upstream.name, upstream.training["epochs"], upstream.corpus.path) == ("gat2022-iemocap-tap", 3, "/i")
    assert upstream.model.encoder["weights"] == "facebook/hubert-large-ll60k"
    assert (own.name, own.training["epochs"], own.corpus.path) == ("gat2022-probe", 7, "/v")
    assert (own.labels.target, own.protocol.name, own.front_end["weights"]) == ("speaker", "official", "beneath")
    assert recipes.upstream(ROWS["HuBERT Large, as pretrained"]) is None


def test_weights_that_lie_elsewhere() -> None:
    recipes = RowRecipes(table=GAT, corpora=PAPERS, weights={GAT.weights[1]: "/w/large"})
    assert made(recipes, "HuBERT Base").model.encoder["weights"] == GAT.weights[0]
    assert made(recipes, "HuBERT Large").model.encoder["weights"] == "/w/large"
    probe = RowRecipes(table=PROBE, corpora=PAPERS, weights={GAT.weights[1]: "/w/large"})
    own = probe.of(ROWS["HuBERT Large, as pretrained"], PROBE.columns[0])
    assert own is not None
    assert own.front_end["weights"] == "/w/large"
    tran = TABLES["tran2023"]
    given = RowRecipes(table=tran, corpora=Corpora(("msp_podcast", "/m")), weights={tran.weights[1]: "/w/base"})
    tapt = given.of(tran.rows[1], tran.columns[0])
    assert tapt is not None
    (stage,) = tapt.stages
    assert stage.targets.source == "/w/base"  # whose frames are clustered


@pytest.fixture
def without_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The papers' recipes, and none of any other corpus's own."""
    (tmp_path / "recipes" / "gat2022").mkdir(parents=True)
    for file in ("iemocap.yaml", "probe.yaml"):
        shutil.copyfile(RECIPES / "gat2022" / file, tmp_path / "recipes" / "gat2022" / file)
    monkeypatch.setattr(row_recipes, "RECIPES", tmp_path / "recipes")
    return tmp_path / "recipes" / "gat2022"


def test_other_corpora_stand_in(without_own: Path) -> None:
    recipes = RowRecipes(table=GAT, corpora=OPEN)
    tap = made(recipes, "HuBERT Large + TAP")
    assert (tap.corpus.name, tap.corpus.path, tap.labels.use) == ("crema_d", "/c", None)
    assert tap.protocol.name == "speaker_folds"
    assert tap.protocol["validation"] == "random20"
    assert tap.speakers is not None
    assert (tap.speakers.name, tap.speakers.path, tap.speakers.only) == ("speechocean762", "/s", {})
    assert (tap.speakers.crop, tap.speakers.batch_size) == (8.0, 8)
    low = made(recipes, "HuBERT Base", "AUC", COLUMNS["AUC"].steps[10.0])
    assert (low.protocol["of"], low.protocol["per_class"]) == ("speaker_folds", 10)
    assert recipes.differences()[0] == (
        "The published figures are of iemocap and voxceleb1, ours of crema_d and speechocean762: "
        "they cannot be compared."
    )
    assert "all emotions of its corpus" in recipes.differences()[1]


def test_a_speaker_corpus_stands_in_for_the_probe(without_own: Path) -> None:
    recipes = RowRecipes(table=PROBE, corpora=Corpora(PAPERS.emotion, OPEN.speakers))
    own = recipes.of(ROWS["HuBERT Large, as pretrained"], PROBE.columns[0])
    assert own is not None
    assert (own.corpus.name, own.labels.target) == ("speechocean762", "speaker")
    assert own.protocol.name == "random_speaker_dependent"
    assert recipes.differences()[1:] == ["Speakers are told apart by the protocol {name: random_speaker_dependent}."]


def test_a_corpus_with_recipes_of_its_own(without_own: Path) -> None:
    (without_own / "crema_d.yaml").write_text(
        "corpus: {name: crema_d}\nprotocol: {name: speaker_folds, folds: 5, run: [1]}\n"
        "speakers: {name: speechocean762, crop: 3.0}\nmodel: {encoder: tdnn_bilstm, dropout: 0.0}\n"
        "rows: {tap: {method: {name: speaker_normalization, step: 0.1}}}\n"
    )
    recipes = RowRecipes(table=GAT, corpora=OPEN)
    tap = made(recipes, "HuBERT Base + TAP")
    assert (tap.name, tap.model.encoder.name, tap.run) == ("gat2022-crema_d-tap", "tdnn_bilstm", ("1",))
    assert tap.speakers is not None
    assert (tap.speakers.crop, tap.speakers.path) == (3.0, "/s")
    assert recipes.of(ROWS["HuBERT Large + TAP"], COLUMNS["5-fold WA"]) is None  # it has no weights to differ in
    assert made(recipes, "HuBERT Base + SNP").model.encoder.name == "hubert"  # no own recipe of that row
    said = recipes.differences()
    assert said[1].startswith("crema_d has recipes of its own: ")
    assert (
        said[2] == "Our encoder is tdnn_bilstm, the paper's hubert: rows that are about its weights are not measured."
    )


def test_kang_and_tran_need_no_more() -> None:
    """Rows by settings, columns by metric and by number of layers: no code is about Gat or the Brown report."""
    recipes = RowRecipes(table=GAT, corpora=PAPERS)
    row = Row(
        name="dropout 0.4",
        recipe="gat2022/iemocap.yaml:baseline",
        overrides=("model.head_dropout=0.4", "protocol.run=[5]"),
    )
    for layers in (12, 22):
        column = Column(name=f"{layers}", measure="ua", overrides=(f"model.layers={layers}",))
        own = recipes.of(row, column)
        assert own is not None
        assert (own.model.encoder["layers"], own.model.parts.head_dropout, own.run) == (layers, 0.4, ("5",))

"""Tables run whole on made-up speech: both corpora, small encoders, what stands on what, pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from serene.corpora.manifest import Manifest
from serene.models.frozen import Frozen
from serene.published import TABLES
from serene.reproduce import row_recipes
from serene.reproduce.row_recipes import Corpora


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tables: corpora, encoder and runs are shared."""
    return tmp_path_factory.mktemp("rehearsal")


@pytest.fixture
def rehearse(serene: Callable[..., Any], runs: Path, quick_trials: None) -> Callable[..., dict[str, dict[str, str]]]:
    def run(table: str, *words: str) -> dict[str, dict[str, str]]:
        ended = serene("reproduce", table, "--tiny", "-o", runs, "--jobs", "1", "--set", "seeds=[0]", *words, "--json")
        assert ended.code == 0, ended.err
        found = ended.json
        assert found["our_corpus"].startswith("synthetic")
        assert "they cannot be compared" in found["differences"][0]
        assert "random weights" in " ".join(found["differences"])
        assert not [text for text in found["differences"] if "coincide" in text]
        drawn = TABLES[table].picture is not None
        assert bool(found["picture"]) == drawn == (runs / f"{table}.png").exists()
        return {row["system"]: row for row in found["rows"]}

    return run


def test_the_speakers_of_the_second_corpus_are_no_one_of_the_first(runs: Path) -> None:
    made = Corpora.made_up(TABLES["gat2022-table1"], runs)
    assert made.speakers is not None
    emotional, others = Manifest.read(Path(made.emotion[1]) / "manifest.jsonl"), Manifest.read(made.speakers[1])
    assert not set(emotional.speakers) & set(others.speakers)
    assert all(clip.audio_hash for clip in others)
    assert Corpora.made_up(TABLES["gat2022-table1"], runs) == made  # found there, and not made anew
    assert Corpora.made_up(TABLES["brown-table1"], runs).speakers is None


def test_the_small_encoder_is_one_that_transformers_would_have_saved(runs: Path) -> None:
    folder = row_recipes._encoder(runs / "tiny-encoder")
    assert Frozen(weights=str(folder)).spec.width == row_recipes.CONFIG["hidden_size"]


@pytest.mark.slow
def test_table_1_of_gat(rehearse: Callable[..., dict[str, dict[str, str]]]) -> None:
    rows = rehearse("gat2022-table1", "--row", "HuBERT Base + SNP")
    row = rows["HuBERT Base + SNP"]
    for column in ("our 5-fold WA", "our speaker-dependent WA", "our AUC"):
        float(row[column].partition(" ")[0])
        assert " to " in row[f"{column.removeprefix('our ')} interval"]
    assert rows["HuBERT Base"]["our AUC"] == "not measured"


@pytest.mark.slow
def test_figure_2_of_gat(rehearse: Callable[..., dict[str, dict[str, str]]]) -> None:
    row = rehearse("gat2022-figure2", "--row", "HuBERT Base + SNP")["HuBERT Base + SNP"]
    area, mean, *points = (float(row[f"our {name}"].partition(" ")[0]) for name in ("AUC", "mean of steps", "10", "20"))
    assert area == pytest.approx(mean, abs=0.051) == pytest.approx(sum(points) / 2, abs=0.051)  # of two points
    assert row["our 600"] == "not measured"


@pytest.mark.slow
def test_probe_of_gat(rehearse: Callable[..., dict[str, dict[str, str]]]) -> None:
    asked = ("HuBERT Large, as pretrained", "fine-tuned with a projector, lambda = 0", "fine-tuned with SNP")
    rows = rehearse("gat2022-probe", *(word for name in asked for word in ("--row", name)))
    runs = {rows[name]["run"] for name in asked}
    assert len(runs) == len(asked)  # of the same recipe on other weights
    assert all(run.startswith("gat2022-probe-") for run in runs)


@pytest.mark.slow
def test_tables_of_the_brown_report(rehearse: Callable[..., dict[str, dict[str, str]]]) -> None:
    rows = rehearse("brown-table1", "--row", "Personalised", "--row", "MFCC, standardised and learned")
    for name in ("Personalised", "MFCC, standardised and learned"):
        for column in TABLES["brown-table1"].columns:
            float(rows[name][f"our {column.name}"].partition(" ")[0])
    assert rehearse("brown-trials", "--row", "Base, 30 at 1e-4")["Base, 30 at 1e-4"]["our spread"]


@pytest.mark.slow
def test_figure_2_of_tu(serene: Callable[..., Any], runs: Path, quick_trials: None) -> None:
    ended = serene("reproduce", "tu2019-figure2", "--tiny", "-o", runs, "--jobs", "1", "--set", "seeds=[0]", "--json")
    assert ended.code == 0, ended.err
    with Image.open(ended.json["picture"]) as picture:
        assert min(picture.size) > 1000
    said = " ".join(ended.json["differences"])
    assert "4 training speakers" in said and "Validation is one speaker" in said and "coincide" not in said

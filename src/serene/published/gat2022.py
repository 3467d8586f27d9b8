"""Gat et al. 2022 (ICASSP): speaker normalisation of HuBERT, table 1, figure 2 and the speaker-identification probe."""

from __future__ import annotations

from serene.published.table import Column, Figure, Picture, Row, Table, Upstream

GRID = (10, 20, 50, 100, 200, 400, 600)  # training clips per emotion: ours, the paper's are in its picture only
_WEIGHTS = ("facebook/hubert-base-ls960", "facebook/hubert-large-ll60k")
_TINY = ("seeds=[0]",)
_LARGE = (f"model.weights={_WEIGHTS[1]}", "training.encoder_learning_rate=1e-5")
_STEPS = {float(x): (f"protocol.per_class={x}",) for x in GRID}
_LOW = ("protocol={name: low_resource, of: leave_one_session_out, subsets: 5, validation: random20}",)
_LOW_STAND_IN = ("protocol.of=speaker_folds",)
_LOW_TINY = ("protocol.folds=3", "protocol.subsets=1", "protocol.run=['1-1']")
_OWN = (
    "another encoder and optimiser, fewer epochs, all emotions of the corpus, folds of speakers; each file says which"
)

_FIVE_FOLD = Column(name="5-fold WA", measure="wa", tiny=("protocol.folds=3", "protocol.run=[1]"))
_DEPENDENT = Column(
    name="speaker-dependent WA",
    measure="wa",
    overrides=("protocol={name: random_speaker_dependent, repeats: 5}",),
    tiny=("protocol.repeats=1", "protocol.train=0.5", "protocol.validation=0.25", "protocol.test=0.25"),
)
_AREA = Column(name="AUC", measure="area", overrides=_LOW, steps=_STEPS, stand_in=_LOW_STAND_IN, tiny=_LOW_TINY)
_MEAN_OF_STEPS = Column(
    name="mean of steps", measure="mean_of_steps", overrides=_LOW, steps=_STEPS, stand_in=_LOW_STAND_IN, tiny=_LOW_TINY
)
_POINTS = tuple(
    Column(name=f"{x:g}", measure="wa", overrides=(*_LOW, *step), stand_in=_LOW_STAND_IN, tiny=_LOW_TINY)
    for x, step in _STEPS.items()
)


def _others(name: str, *, five_fold: float | None = None, dependent: float | None = None) -> Row:
    given = {_FIVE_FOLD.name: five_fold, _DEPENDENT.name: dependent}
    return Row(name=name, published={column: Figure(value) for column, value in given.items() if value is not None})


def _theirs(size: str, method: str, five_fold: float, dependent: float, area: float) -> Row:
    recipe = {"": "baseline", "SNP": "snp", "TAP": "tap"}[method]
    return Row(
        name=f"HuBERT {size} + {method}" if method else f"HuBERT {size}",
        published={
            _FIVE_FOLD.name: Figure(five_fold),
            _DEPENDENT.name: Figure(dependent),
            _AREA.name: Figure(area),
        },
        recipe=f"gat2022/iemocap.yaml:{recipe}",
        overrides=_LARGE if size == "Large" else (),
    )


_OURS = (
    _theirs("Base", "", 68.9, 71.2, 61.0),
    _theirs("Base", "SNP", 69.0, 72.8, 61.6),
    _theirs("Base", "TAP", 69.9, 72.4, 62.7),
    _theirs("Large", "", 71.9, 78.3, 63.9),
    _theirs("Large", "SNP", 73.9, 79.9, 64.2),
    _theirs("Large", "TAP", 74.2, 81.0, 64.9),
)

_UNSAID = (
    "Not published, our choice: AdamW, its rates, batch sizes, epochs and crops, the heads (the mean over frames, one "
    "hidden layer of 256 and ReLU, one linear layer: after pooling, so that heads and probes read the same vector), "
    "and SNP's projector (one linear layer and ReLU on every frame). The recipes state each.",
    "The step against the speaker is plain gradient ascent by lambda = 1e-3, with its gradient's norm limited to 1 "
    "(ours): the paper does not say how the ascent goes with its optimiser.",
)
_LOW_UNSAID = (
    f"AUC is the area under WA over the number of training clips per emotion, divided by its range. The paper's "
    f"numbers of clips are in its figure alone; ours are {', '.join(map(str, GRID))}, each drawn five times in "
    "each of five folds. Areas over other numbers of clips differ, so only the order of the rows compares.",
)

TABLES = {
    "gat2022-table1": Table(
        title="Speaker normalisation of HuBERT on IEMOCAP, four emotions, against the speakers of VoxCeleb1",
        source="Gat et al. 2022, ICASSP, table 1",
        unit="Accuracy (WA) in per cent, mean over folds, and deviation over folds and seeds.",
        corpus="iemocap",
        speaker_corpus="voxceleb1",
        own_recipes="gat2022",
        weights=_WEIGHTS,
        tiny=_TINY,
        columns=(_FIVE_FOLD, _DEPENDENT, _AREA),
        rows=(
            _others("MDRE", dependent=71.8),
            _others("DS-LSTM", dependent=72.7),
            _others("MOMA", dependent=74.8),
            _others("WISE", five_fold=66.5),
            _others("wav2vec2-PT", five_fold=67.2),
            _others("ACTC", five_fold=69.0),
            _others("AttPool", five_fold=71.7),
            *_OURS,
        ),
        stand_in="{name: speaker_folds, folds: 5, validation: random20}",
        own=_OWN,
        cost="60 trainings on whole folds and 1,050 small ones, some hundreds of hours on a GPU (an estimate)",
        differences=(
            "5-fold WA: each session tests once. Validation is a random fifth of the other eight speakers' turns, as "
            "the paper's seems to be, so that validation has speakers in common with training, and testing has none.",
            "Speaker-dependent WA: the paper gives neither shares nor repeats; ours are 80, 10 and 10 %, five times. "
            "Its speakers are in training too.",
            *_LOW_UNSAID,
            *_UNSAID,
            "The paper's text puts its speaker-dependent gain at 0.5, which no two of the table's figures differ by.",
        ),
    ),
    "gat2022-figure2": Table(
        title="Speaker normalisation of HuBERT on IEMOCAP with few training clips per emotion",
        source="Gat et al. 2022, ICASSP, figure 2 (its points) and table 1 (its AUC)",
        unit="Accuracy (WA) in per cent with so many training clips per emotion, mean over folds and subsets.",
        corpus="iemocap",
        speaker_corpus="voxceleb1",
        own_recipes="gat2022",
        weights=_WEIGHTS,
        tiny=_TINY,
        columns=(*_POINTS, _AREA, _MEAN_OF_STEPS),
        rows=tuple(
            Row(name=row.name, published={"AUC": row.published["AUC"]}, recipe=row.recipe, overrides=row.overrides)
            for row in _OURS
        ),
        picture=Picture(
            kind="curves",
            places={point.name: x for point, x in zip(_POINTS, _STEPS, strict=True)},
            x_label="training clips per emotion",
            y_label="WA",
            log_x=True,
        ),
        stand_in="{name: speaker_folds, folds: 5, validation: random20}",
        own=_OWN,
        cost="1,050 trainings on few clips, each tested on a whole session, some hundred hours on a GPU (an estimate)",
        differences=("The figure's points are not published as numbers, so they are blank.", *_LOW_UNSAID, *_UNSAID),
    ),
    "gat2022-probe": Table(
        title="How many of VoxCeleb1's speakers a fresh probe tells apart on HuBERT Large, before and after",
        source="Gat et al. 2022, ICASSP, section 4 (its text)",
        unit="Speaker identification accuracy in per cent, and deviation over seeds.",
        corpus="iemocap",
        speaker_corpus="voxceleb1",
        own_recipes="gat2022",
        weights=_WEIGHTS[1:],
        tiny=_TINY,
        columns=(Column(name="accuracy", measure="wa", tiny=("protocol.repeats=1",)),),
        rows=(
            Row(name="HuBERT Large, as pretrained", published={"accuracy": Figure(60.7)}, recipe="gat2022/probe.yaml"),
            Row(
                name="fine-tuned on emotion, lambda = 0",
                recipe="gat2022/probe.yaml",
                upstream=Upstream(recipe="gat2022/iemocap.yaml:baseline", overrides=_LARGE),
            ),
            Row(
                name="fine-tuned with TAP",
                published={"accuracy": Figure(45.9)},
                recipe="gat2022/probe.yaml",
                upstream=Upstream(recipe="gat2022/iemocap.yaml:tap", overrides=_LARGE),
            ),
            Row(
                name="fine-tuned with SNP",
                recipe="gat2022/probe.yaml",
                upstream=Upstream(recipe="gat2022/iemocap.yaml:snp", overrides=_LARGE),
            ),
        ),
        stand_in="{name: speaker_folds, folds: 5, validation: random20}",
        cost=(
            "three trainings on one fold, and HuBERT Large over VoxCeleb1's 352 hours four times, "
            "some hundred hours on a GPU, since clips are encoded one by one (an estimate)"
        ),
        differences=(
            "The paper does not say which strategy its 45.9 is of; it stands in the row of TAP, whose ascent changes "
            "the encoder. SNP's leaves the encoder alone, so that its row is probed behind the projector, where its "
            "emotion head reads.",
            "The row with lambda = 0 is ours: without it nobody can tell what fine-tuning alone makes the encoder "
            "forget.",
            "Where another speaker corpus stands in, TAP and SNP have learnt from its clips whom the probe then tells "
            "apart, as the paper's have from VoxCeleb1's training part.",
            "Not published, our choice: the probe (a linear layer on the mean of the last layer's frames), its "
            "training, and that the encoder is the one trained on the first fold. Such probes of HuBERT are known to "
            "reach other levels with other layers, so it is the drop that compares.",
        ),
    ),
}

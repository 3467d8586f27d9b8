"""Small fake corpora with the real names and label syntax, for the tests of the readers."""

from __future__ import annotations

import json
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile

from serene.corpora.sample import FOLDER
from serene.corpora.synthetic import make

RATE = 16_000


def tone(seed: int, seconds: float = 0.2, rate: int = RATE) -> np.ndarray:
    """Make noise (sample,) that is different for every seed."""
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def sound_files(root: Path, names: Iterable[str]) -> Path:
    """Write sounds below a folder, each with its own content, and return the folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(zlib.crc32(str(path).encode())), RATE)
    return root


def emodb(root: Path) -> Path:
    """EmoDB: both genders, all seven emotions, WAV and FLAC."""
    names = ("03a01Fa", "03a02Nc", "08a05Wa", "08b01La", "09b02Tb", "16b10Ea", "16a07Aa")
    return sound_files(root, [f"wav/{name}.{'flac' if name[0] == '1' else 'wav'}" for name in names])


def ravdess(root: Path) -> Path:
    """RAVDESS: eight emotions, an odd and an even actor."""
    names = [f"Actor_01/03-01-0{e}-01-01-01-01.wav" for e in range(1, 9)]
    return sound_files(root, [*names, "Actor_02/03-01-05-02-02-01-02.wav"])


VOTES_HEADER = (
    '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote","meanEmoResp","meanAngerResp",'
    '"meanDisgustResp","meanFearResp","meanHappyResp","meanNeutralResp","meanSadResp"\n'
)
VOTES_ROWS = (
    '"100001",4,0,2,0,2,0,"1001_IEO_ANG_HI",8,0.5,"A",60,70,-1,40,-1,55.5,-1\n'
    '"100002",0,3,0,1,3,1,"1002_ITH_DIS_XX",8,0.375,"D:N",60,-1,50,-1,20,61,30.5\n'
    '"100003",0,0,0,0,7,0,"1040_ITH_SAD_XX",7,1,"N",60,-1,-1,-1,-1,80,-1\n'
    '"200001",0,0,0,9,0,0,"1001_IEO_ANG_HI",9,1,"H",60,-1,-1,-1,90,-1,-1\n'
    '"300001",0,9,0,0,0,0,"1001_IEO_ANG_HI",9,1,"D",60,-1,90,-1,-1,-1,-1\n'
)
ACTORS = (
    '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","Caucasian","Not Hispanic"\n'
    '1002,21,"Female","African American","Not Hispanic"\n1040,42,"Male","Asian","Hispanic"\n'
)


def crema_d(root: Path) -> Path:
    """CREMA-D: a levelled clip, a tie, the misnamed one, and one that nobody voted on."""
    names = ("1001_IEO_ANG_HI", "1002_ITH_DIS_XX", "1040_ITH_SAD_X", "1002_DFA_NEU_XX")
    sound_files(root, [f"AudioWAV/{name}.wav" for name in names])
    (root / "processedResults").mkdir()
    (root / "processedResults/tabulatedVotes.csv").write_text(VOTES_HEADER + VOTES_ROWS)
    (root / "VideoDemographics.csv").write_text(ACTORS)
    return root


IEMOCAP_HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
IEMOCAP_BLOCK = (
    "[{start} - {end}]\t{name}\t{label}\t[{v}, {a}, {d}]\n"
    "C-E2:\tNeutral;\t()\n"
    "C-E3:\tFrustration; Anger;\t(raises; her voice)\n"
    "C-E4:\tExcited;\t()\n"
    "C-F1:\tHappiness;\t(self-report)\n"
    "A-E3:\tval 3; act 2; dom  2;\t()\n"
    "A-M1:\tval 3; act 2; dom  1;\t()\n\n"
)


def iemocap_labels(root: Path, dialog: str, turns: dict[str, str]) -> None:
    """Write a dialog's label file and the sounds of its turns: last token of the name -> label code."""
    session = root / f"Session{dialog[4]}"
    folder = session / "dialog" / "EmoEvaluation"
    folder.mkdir(parents=True, exist_ok=True)
    blocks = [
        IEMOCAP_BLOCK.format(
            start=f"{i}.2901",
            end=f"{i + 1}.2357",
            name=f"{dialog}_{turn}",
            label=label,
            v="2.5000",
            a="3.6667",
            d="4.0",
        )
        for i, (turn, label) in enumerate(turns.items(), 6)
    ]
    (folder / f"{dialog}.txt").write_text(IEMOCAP_HEADER + "".join(blocks))
    sound_files(session / "sentences" / "wav" / dialog, [f"{dialog}_{turn}.wav" for turn in turns])


def iemocap(root: Path) -> Path:
    """IEMOCAP: two sessions, improvised and scripted, all eleven codes."""
    codes = ("neu", "ang", "sad", "hap", "exc", "fru", "fea", "sur", "dis", "oth", "xxx")
    iemocap_labels(root, "Ses01F_impro01", {f"{'FM'[i % 2]}{i:03d}": code for i, code in enumerate(codes)})
    iemocap_labels(root, "Ses01M_script01_1b", {"F000": "fru", "M000": "neu"})
    iemocap_labels(root, "Ses02M_impro05a", {"F000": "sad", "MXX1": "xxx"})
    return root


MSP_CONSENSUS = (
    "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
    "MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1\n"
    "MSP-PODCAST_0001_0009.wav,X,3.777778,3.555556,3.777778,39,Female,Development\n"
    "MSP-PODCAST_0002_0033.wav,A,7.0,1.0,6.5,41,Female,Train\n"
    "MSP-PODCAST_4552_0512_0000.wav,O,4.125,4.75,4.0,Unknown,Unknown,Train\n"
)
MSP_DETAILED = (
    "FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n"
    'MSP-PODCAST_0001_0008.wav,WORKER00000018,Neutral,"Neutral,Concerned",1,4,2\n'
    "MSP-PODCAST_0001_0008.wav,WORKER00000001,Other-confused,Confused,3,3,4\n"
    "MSP-PODCAST_0001_0008.wav,WORKER00000021,Neutral,Neutral,3,4,2\n"
    "MSP-PODCAST_0002_0033.wav,WORKER00000021,Angry,Angry,7,1,6\n"
)
MSP_TEXT = (
    "MSP-PODCAST_0001_0008.wav; N; A:2.200000; V:4.000000; D:2.600000;\n"
    "WORKER00000018; Neutral; Neutral,Concerned; A:1.000000; V:4.000000; D:2.000000;\n"
    "WORKER00000001; Other-confused; ; A:3.000000; V:3.000000; D:4.000000;\n\n"
    "MSP-PODCAST_0001_0009.wav; X; A:3.777778; V:3.555556; D:3.777778;\n\n"
    "MSP-PODCAST_0002_0033.wav; A; A:7.000000; V:1.000000; D:6.500000;\n"
    "WORKER00000021; Angry; Angry; A:7.000000; V:1.000000; D:6.000000;\n"
)


def msp_sounds(root: Path) -> Path:
    """The sounds of the rows above."""
    names = [row.partition(",")[0] for row in MSP_CONSENSUS.splitlines()[1:]]
    return sound_files(root, [f"Audios/{name}" for name in names])


def msp_podcast(root: Path) -> Path:
    """MSP-Podcast as release 2.0 has it: three known speakers and an unknown one, a clip without a plurality."""
    msp_sounds(root)
    (root / "Labels").mkdir()
    (root / "Labels/labels_consensus.csv").write_text(MSP_CONSENSUS)
    (root / "Labels/labels_detailed.csv").write_text(MSP_DETAILED)
    return root


def msp_podcast_of_old(root: Path) -> Path:
    """MSP-Podcast as its oldest releases have it: text files only, the last clip in none of them."""
    msp_sounds(root)
    (root / "Audios/MSP-PODCAST_4552_0512_0000.wav").unlink()
    (root / "Labels").mkdir()
    (root / "Labels/Labels.txt").write_text(MSP_TEXT)
    parts = ("Test1; MSP-PODCAST_0001_0008.wav", "Validation; MSP-PODCAST_0001_0009.wav")
    (root / "Partitions.txt").write_text("\n\n".join((*parts, "Train; MSP-PODCAST_0002_0033.wav\n")))
    people = ("Speaker_30; Male", "Speaker_39; Female", "", "MSP-PODCAST_0001_0008.wav; 30")
    people += ("MSP-PODCAST_0001_0009.wav; 39", "MSP-PODCAST_0002_0033.wav; Unknown")
    (root / "Speaker_ids.txt").write_text("\n".join(people))
    return root


def esd(root: Path) -> Path:
    """ESD: a Mandarin and an English speaker, with parts and lists."""
    names = ["0001/Neutral/0001_000001.wav", "0001/Angry/0001_000351.wav", "0011/Happy/train/0011_000701.wav"]
    sound_files(root, [*names, "0011/Sad/test/0011_001062.wav", "0011/Surprise/evaluation/0011_001750.wav"])
    rows = "0001_000001\t打远一看\t中立\n0001_000351\t打远一看\t生气\n"
    (root / "0001/0001.txt").write_text(rows, encoding="gb18030")
    (root / "0011/0011.txt").write_text("0011_000701\tThe nine\tHappy\n", encoding="utf-16")
    return root


SPLIT_FILE = (
    "1 id10001/1zcIwhmdeo4/00001.wav\n2 id10001/7gWzIy6yIIk/00002.wav\n3 id10270/-x-_8eG6z2Q/00001.wav\n"
    "1 id11251/zncqeMvGVBY/00012.wav\n"
)
CELEBRITIES = (
    "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA.J._Buckley\tm\tIreland\tdev\n"
    "id10270\tEartha_Kitt\tf\tUSA\ttest\nid11251\tZulay_Henao\tf\tUSA\tdev\n"
)


def voxceleb1(root: Path) -> Path:
    """VoxCeleb1: three speakers under dev and test, in the first, a middle and the last place, WAV and FLAC."""
    names = ["dev/wav/id10001/1zcIwhmdeo4/00001.wav", "dev/wav/id10001/7gWzIy6yIIk/00002.flac"]
    sound_files(root, [*names, "dev/wav/id11251/zncqeMvGVBY/00012.wav", "test/wav/id10270/-x-_8eG6z2Q/00001.wav"])
    (root / "iden_split.txt").write_text(SPLIT_FILE)
    (root / "vox1_meta.csv").write_text(CELEBRITIES)
    return root


def speechocean762(root: Path) -> Path:
    """speechocean762: a child and a man who train, a girl who tests, and their lists."""
    lists = {
        "train/utt2spk": "000010011\t0001\n000010035\t0001\n096280011\t9628\n",
        "train/spk2gender": "0001\tm\n9628\tm\n",
        "train/spk2age": "0001\t6\n9628\t26\n",
        "train/text": "000010011\tWE CALL IT BEAR\n000010035\tMARK IS GOING\n096280011\tWE CALL IT BEAR\n",
        "test/utt2spk": "000240010 0024\n",
        "test/spk2gender": "0024 f\n",
        "test/spk2age": "0024 7\n",
        "test/text": "000240010 TAI GOOSE\n",
    }
    for name, text in lists.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    clips = [row.split()[0] for name, text in lists.items() if name.endswith("utt2spk") for row in text.splitlines()]
    return sound_files(root, [f"WAVE/SPEAKER{clip[1:5]}/{clip}.wav" for clip in clips])


CLIPS = {
    "a": {"speaker": "x", "emotion": "anger"},
    "b": {"speaker": "x", "emotion": "sadness"},
    "c": {"speaker": "y", "emotion": "anger"},
}


def table(root: Path) -> Path:
    """A table of JSON lines beside its sounds."""
    sound_files(root, ["a/one.wav", "a/two.wav"])
    rows = ({"wav": "a/one.wav", "spk": "x", "label": "ang"}, {"wav": "a/two.wav", "spk": "y", "label": "neutral"})
    (root / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root / "mine.jsonl"


def files(root: Path) -> Path:
    """Files that are named as `files` reads them without a pattern."""
    return sound_files(root, ["OAF_back_angry.wav", "OAF_bar_sad.wav", "b/YAF_back_neutral.flac"])


def webdataset(root: Path) -> Path:
    """A shard of three clips, each a sound and what is said of it under the same key."""
    sound_files(root, [f"{key}.flac" for key in CLIPS])
    with tarfile.open(root / "train-000.tar", "w") as tar:
        for key, labels in CLIPS.items():
            (root / f"{key}.json").write_text(json.dumps(labels))
            for name in (f"{key}.flac", f"{key}.json"):
                tar.add(root / name, name)
                (root / name).unlink()
    return root


def huggingface(root: Path) -> Path:
    """The same clips as `datasets` writes them: sounds as bytes, emotions as numbers, their names beside the schema."""
    names = sorted({labels["emotion"] for labels in CLIPS.values()})
    features = {"emotion": {"names": names, "_type": "ClassLabel"}, "audio": {"_type": "Audio"}}
    sound_files(root, [f"{key}.flac" for key in CLIPS])
    rows = [
        {**labels, "emotion": names.index(labels["emotion"]), "audio": {"bytes": path.read_bytes(), "path": path.name}}
        for labels, path in ((labels, root / f"{key}.flac") for key, labels in CLIPS.items())
    ]
    for path in root.glob("*.flac"):
        path.unlink()
    about = json.dumps({"info": {"features": features}})
    table = pyarrow.Table.from_pylist(rows).replace_schema_metadata({"huggingface": about})
    pyarrow.parquet.write_table(table, root / "train-00000-of-00001.parquet", row_group_size=2)
    return root


def sample(root: Path) -> Path:
    """The sample itself: it comes with the package."""
    return Path(shutil.copytree(FOLDER, root / "sample"))


def synthetic(root: Path) -> Path:
    """A small synthetic corpus; `read` makes a larger one in a new folder."""
    make(root / "made", speakers=4, clips_per_speaker=8, seconds=0.3)
    return root / "made"


TREES: dict[str, Callable[[Path], Path]] = {
    "emodb": emodb,
    "ravdess": ravdess,
    "crema_d": crema_d,
    "iemocap": iemocap,
    "msp_podcast": msp_podcast,
    "esd": esd,
    "voxceleb1": voxceleb1,
    "speechocean762": speechocean762,
    "table": table,
    "files": files,
    "webdataset": webdataset,
    "huggingface": huggingface,
    "sample": sample,
    "synthetic": synthetic,
}

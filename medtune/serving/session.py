"""onnxruntime sessions: on the provider that was asked for and no other, and tuned for it."""

import io
import os
from collections.abc import Collection
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import onnxruntime

from medtune.serving.external_data import external_files
from medtune.serving.manifest import BundleError
from medtune.serving.one_line import first_line

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
# A TensorRT engine is built for batches from 1 to the last of these, fastest at the second.
PROFILE_BATCHES = (1, 32, 64)


def open_session(
    content: bytes,
    name: str,
    provider: str,
    precision: str,
    threads: int = 0,
    busy_wait: bool = True,
    input_name: tuple[str, int] | None = None,
    folder: Path | None = None,
    external: Collection[str] = (),
) -> onnxruntime.InferenceSession:
    """An onnxruntime session on ONNX bytes, on the provider that was asked for and no other.

    Args:
        content: the ONNX file.
        name: of the file, for messages.
        provider: cpu, cuda or tensorrt.
        precision: of the file.
        threads: CPU threads of one prediction; 0: as many as there are cores.
        busy_wait: idle threads wait busily for the prediction's next operator; False where others want the cores.
        input_name: name of the graph's input and the side of its images, pixels; TensorRT's batches need it.
        folder: where the file `name` lies; only needed if it has weights in other files.
        external: names of the files in `folder` that it may take weights from.

    Raises:
        BundleError: weights in files that are not named, no ONNX model, or the provider is not active.
    """
    try:
        files = external_files(content)
    except ValueError as error:
        raise BundleError(f"{name} is no ONNX model: {error}") from None
    if files and (folder is None or not files <= set(external)):
        raise BundleError(f"{name} keeps weights in another file (ONNX external data) that bundle.json does not list: "
                          "refused")  # fmt: skip
    if provider not in PROVIDERS:
        raise BundleError(f"provider {provider!r} is unknown; choose one of: {', '.join(PROVIDERS)}")
    wanted = PROVIDERS[provider]
    if provider != "cpu":
        if precision == "int8":
            raise BundleError(f"{name} is for CPUs: on {provider} choose fp16 or fp32")
        if wanted not in onnxruntime.get_available_providers():
            raise BundleError(f"provider {provider} is not in this onnxruntime; install onnxruntime-gpu")
        if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on; an older one needs CUDA's libraries on its path
            with redirect_stdout(io.StringIO()):  # it prints what it misses, and stdout is for the CSV
                onnxruntime.preload_dlls()
        onnxruntime.set_default_logger_severity(4)  # a provider that cannot start is reported below, in one line
    try:
        if provider == "tensorrt":
            engine_cache_dir().mkdir(parents=True, exist_ok=True)
        session = onnxruntime.InferenceSession(
            str(folder / name) if files and folder else content,
            session_options(threads, busy_wait),
            providers=provider_chain(provider, precision, input_name),
            enable_fallback=0,
        )
    except Exception as error:  # onnxruntime raises a class of its own for each kind of failure
        raise BundleError(f"{name} cannot be loaded on {provider}: {first_line(error)}") from error
    finally:
        if provider != "cpu":
            onnxruntime.set_default_logger_severity(2)
    if wanted not in session.get_providers():
        active = ", ".join(session.get_providers())
        raise BundleError(
            f"provider {provider} was asked for and is not active (active: {active}); it needs a GPU and "
            'CUDA libraries: pip install "onnxruntime-gpu[cuda,cudnn]"'
        )
    return session


def session_options(threads: int = 0, busy_wait: bool = True) -> onnxruntime.SessionOptions:
    """How a graph is run: all fusions, one operator after the other, each on all threads."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Buffers are planned once a batch size, and kept from batch to batch.
    options.enable_mem_pattern = options.enable_cpu_mem_arena = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if busy_wait else "0")
    # Between two predictions they sleep: the cores are others' then.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def count_operators(session: onnxruntime.InferenceSession) -> dict[str, int]:
    """Count the graph's operators per provider.

    Args:
        session: from `open_session`.

    Returns:
        Operators by provider name; empty before onnxruntime 1.24, which does not report them.
    """
    found: dict[str, int] = {}
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return found
    for part in session.get_provider_graph_assignment_info():
        found[part.ep_name] = found.get(part.ep_name, 0) + len(part.get_nodes())
    return found


def provider_chain(provider: str, precision: str, input_name: tuple[str, int] | None = None) -> list[Any]:
    """Providers, first choice first, with their options; those after it only take operators that it has not."""
    if provider == "cpu":
        return [PROVIDERS["cpu"]]
    cuda = {
        # fp32 means fp32: TF32 would move probabilities by about 1e-3.
        "use_tf32": "0" if precision == "fp32" else "1",
        # The default times every algorithm anew for each batch size: a service would do so for 64 of them.
        "cudnn_conv_algo_search": "HEURISTIC",
        # The default doubles what it holds: a GPU is shared with others.
        "arena_extend_strategy": "kSameAsRequested",
    }
    chain: list[Any] = [(PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]
    if provider == "cuda":
        return chain
    folder = engine_cache_dir()
    tensorrt = {
        # Building an engine takes minutes: it is kept, with the timings that it was built from.
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": "1" if precision == "fp16" else "0",
    }
    if input_name:
        # Without them the engine is built anew for every batch that is larger than all before it.
        name, side = input_name
        for end, batch in zip(("min", "opt", "max"), PROFILE_BATCHES, strict=True):
            tensorrt[f"trt_profile_{end}_shapes"] = f"{name}:{batch}x{side}x{side}x3"
    return [(PROVIDERS["tensorrt"], tensorrt), *chain]


def engine_cache_dir() -> Path:
    """Where TensorRT engines are kept: under `$MEDTUNE_CACHE`, else in the user's cache folder."""
    if named := os.environ.get("MEDTUNE_CACHE"):
        return Path(named).resolve() / "tensorrt"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "medtune" / "tensorrt"

"""onnxruntime sessions on the requested provider (cpu, cuda or tensorrt). There is no fallback to another provider."""

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
# Minimum, typical and maximum batch size of a TensorRT engine (the compiled model).
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
    """Open an onnxruntime session on the requested provider.

    Args:
        content: bytes of the ONNX file.
        name: name of the file, for messages.
        provider: cpu, cuda or tensorrt.
        precision: precision of the file.
        threads: number of CPU threads per prediction; 0 for all cores.
        busy_wait: let idle threads spin during a prediction. Use False if other programs need the cores.
        input_name: name of the input and side of its images in pixels. TensorRT needs both.
        folder: folder of the file `name`. Only required for a model whose weights are in other files.
        external: names of the files in `folder` that the model may load weights from.

    Returns:
        The session.

    Raises:
        BundleError: the content is not an ONNX model, the model refers to a file that is not in `external`, or the
            provider is not available or not active.
    """
    try:
        files = external_files(content)
    except ValueError as error:
        raise BundleError(f"{name} is not an ONNX model: {error}") from None
    if files and (folder is None or not files <= set(external)):
        raise BundleError(
            f"{name} stores weights in a file (ONNX external data) that bundle.json does not list. "
            "Export the bundle again"
        )
    if provider not in PROVIDERS:
        raise BundleError(f"provider {provider!r} is unknown. Choose one of: {', '.join(PROVIDERS)}")
    provider_name = PROVIDERS[provider]
    if provider != "cpu":
        if precision == "int8":
            raise BundleError(f"{name} runs only on CPUs. For {provider} choose fp16 or fp32")
        if provider_name not in onnxruntime.get_available_providers():
            raise BundleError(f"provider {provider} is not available in this onnxruntime. Install onnxruntime-gpu")
        if hasattr(onnxruntime, "preload_dlls"):  # since 1.21; older versions search the library path
            with redirect_stdout(io.StringIO()):  # prints missing libraries, but stdout is for the CSV
                onnxruntime.preload_dlls()
        onnxruntime.set_default_logger_severity(4)  # the exceptions below report a provider that cannot start
    try:
        if provider == "tensorrt":
            engine_cache_dir().mkdir(parents=True, exist_ok=True)
        session = onnxruntime.InferenceSession(
            str(folder / name) if files and folder else content,
            session_options(threads, busy_wait),
            providers=provider_list(provider, precision, input_name),
            enable_fallback=0,
        )
    except Exception as error:  # onnxruntime has many unrelated classes of errors
        raise BundleError(f"{name} cannot be loaded on {provider}: {first_line(error)}") from error
    finally:
        if provider != "cpu":
            onnxruntime.set_default_logger_severity(2)
    if provider_name not in session.get_providers():
        active = ", ".join(session.get_providers())
        raise BundleError(
            f"provider {provider} is not active (active: {active}). It needs a GPU and CUDA libraries: "
            'pip install "onnxruntime-gpu[cuda,cudnn]"'
        )
    return session


def session_options(threads: int = 0, busy_wait: bool = True) -> onnxruntime.SessionOptions:
    """Return options for a session with all graph optimizations. Each operator runs on all threads.

    Args:
        threads: number of CPU threads; 0 for all cores.
        busy_wait: let idle threads spin during a prediction.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Memory is planned once per batch size and reused.
    options.enable_mem_pattern = options.enable_cpu_mem_arena = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if busy_wait else "0")
    # Between predictions the threads sleep, so that other programs can use the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def count_operators(session: onnxruntime.InferenceSession) -> dict[str, int]:
    """Count the operators that each provider runs.

    Args:
        session: from `open_session`.

    Returns:
        Number of operators by name of the provider. Empty for versions of onnxruntime before 1.24.
    """
    counts: dict[str, int] = {}
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return counts
    for subgraph in session.get_provider_graph_assignment_info():
        counts[subgraph.ep_name] = counts.get(subgraph.ep_name, 0) + len(subgraph.get_nodes())
    return counts


def provider_list(provider: str, precision: str, input_name: tuple[str, int] | None = None) -> list[Any]:
    """Return the providers with their options, in order of preference.

    Args:
        provider: cpu, cuda or tensorrt.
        precision: precision of the model.
        input_name: name of the input and side of its images in pixels.

    Returns:
        Providers as onnxruntime expects them. A provider runs only operators that earlier providers do not support.
    """
    if provider == "cpu":
        return [PROVIDERS["cpu"]]
    cuda = {
        # TF32 would change probabilities of an fp32 model by about 1e-3.
        "use_tf32": "0" if precision == "fp32" else "1",
        # The default measures all convolution algorithms for every batch size, of which a service has up to 64.
        "cudnn_conv_algo_search": "HEURISTIC",
        # The default allocates up to twice the required memory, but other programs may use the GPU too.
        "arena_extend_strategy": "kSameAsRequested",
    }
    providers: list[Any] = [(PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]
    if provider == "cuda":
        return providers
    folder = engine_cache_dir()
    tensorrt = {
        # Building an engine takes minutes, so the engine and its timings are cached.
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": "1" if precision == "fp16" else "0",
    }
    if input_name:
        # Without these shapes, TensorRT builds the engine again for every batch that is larger than earlier batches.
        name, side = input_name
        for end, batch in zip(("min", "opt", "max"), PROFILE_BATCHES, strict=True):
            tensorrt[f"trt_profile_{end}_shapes"] = f"{name}:{batch}x{side}x{side}x3"
    return [(PROVIDERS["tensorrt"], tensorrt), *providers]


def engine_cache_dir() -> Path:
    """Return the folder for TensorRT engines: in `$MEDTUNE_CACHE` if set, otherwise in the user's cache folder."""
    if cache := os.environ.get("MEDTUNE_CACHE"):
        return Path(cache).resolve() / "tensorrt"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "medtune" / "tensorrt"

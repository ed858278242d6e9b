import onnxruntime
import pytest

from medtune.serving.manifest import BundleError
from medtune.serving.session import (
    PROVIDERS,
    count_operators,
    engine_cache_dir,
    open_session,
    provider_list,
    session_options,
)


def options_of(providers: list, provider: str) -> dict[str, str]:
    return dict(entry for entry in providers if isinstance(entry, tuple))[PROVIDERS[provider]]


def test_session_options__enable_all_optimizations_and_sequential_execution():
    options = session_options(threads=3, busy_wait=False)
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.enable_mem_pattern
    assert options.enable_cpu_mem_arena
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert session_options().get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_provider_list__cpu_has_no_fallback():
    assert provider_list("cpu", "int8") == ["CPUExecutionProvider"]


def test_provider_list__cuda_disables_tf32_and_algorithm_search():
    providers = provider_list("cuda", "fp32")
    assert [entry if isinstance(entry, str) else entry[0] for entry in providers] == [
        PROVIDERS["cuda"],
        PROVIDERS["cpu"],
    ]
    assert options_of(providers, "cuda") == {
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    assert options_of(provider_list("cuda", "fp16"), "cuda")["use_tf32"] == "1"


def test_provider_list__tensorrt_has_engine_cache_and_batch_sizes(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path))
    providers = provider_list("tensorrt", "fp32", ("images", 224))
    assert providers[0][0] == PROVIDERS["tensorrt"]
    assert providers[1:] == provider_list("cuda", "fp32")
    assert options_of(providers, "tensorrt") == {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(tmp_path / "tensorrt"),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(tmp_path / "tensorrt"),
        "trt_fp16_enable": "0",
        "trt_profile_min_shapes": "images:1x224x224x3",
        "trt_profile_opt_shapes": "images:32x224x224x3",
        "trt_profile_max_shapes": "images:64x224x224x3",
    }


def test_provider_list__tensorrt_fp16_only_on_request():
    assert options_of(provider_list("tensorrt", "fp16"), "tensorrt")["trt_fp16_enable"] == "1"


def test_engine_cache_dir__default_is_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDTUNE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine_cache_dir() == tmp_path / "medtune" / "tensorrt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine_cache_dir() == tmp_path / ".cache" / "medtune" / "tensorrt"


def test_count_operators__counts_per_provider(by_hand):
    session = open_session(by_hand.model(), "model.onnx", "cpu", "fp32", threads=1)
    assert count_operators(session) == {"CPUExecutionProvider": 4}


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_open_session__int8_only_on_cpus(by_hand, provider):
    with pytest.raises(BundleError, match=f"runs only on CPUs. For {provider} choose fp16 or fp32"):
        open_session(by_hand.model(), "model.int8.onnx", provider, "int8")

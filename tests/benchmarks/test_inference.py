"""Benchmark of inference: the engines agree. Their speed is not tested."""

import pytest
import torch

from benchmarks import inference


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize(("backbone", "arguments"), [("test_vit", {"img_size": 32}), ("test_efficientnet", {})])
def test_measure__engines_agree_and_every_batch_size_has_rows(backbone, arguments, capsys):
    threads = torch.get_num_threads()
    rows = inference.measure(
        backbone, size=32, batches=[1, 4], threads=threads, rounds=2, head="cdtm", arguments=arguments
    )
    assert [(row["batch"], row["engine"]) for row in rows] == [
        (batch, engine) for batch in (1, 4) for engine in ("torch", "onnx", "onnx int8")
    ]
    for row in rows:
        assert row["max_abs_diff"] < {"torch": 1e-9, "onnx": 1e-5, "onnx int8": 0.05}[row["engine"]]
        assert row["images_per_s"] > 0
        assert row["refused"] is None
        assert row["speedup_over_torch"] == pytest.approx(1) or row["engine"] != "torch"
    inference.report(rows)
    assert capsys.readouterr().out.count("images/s") == 6
    converted = inference.to_rows(rows)
    assert [row.reference for row in converted] == ["torch", "onnx"] * 2
    assert converted[0].ratio == pytest.approx(converted[0].value / converted[0].reference_value)


def test_report__shows_targets_and_refusals(capsys):
    base = {"backbone": "deit_tiny_patch16_224", "size": 224, "batch": 1, "threads": 2, "max_abs_diff": 0.01}
    inference.report(
        [
            {**base, "engine": "onnx", "images_per_s": 50.0, "speedup_over_torch": 1.2, "speedup_over_onnx": 1,
             "refused": None},
            {**base, "engine": "onnx int8", "images_per_s": 60.0, "speedup_over_torch": 1.4, "speedup_over_onnx": 1.2,
             "refused": None},
            {**base, "engine": "onnx int8", "images_per_s": None, "refused": "no layer to quantize"},
        ]
    )  # fmt: skip
    output = capsys.readouterr().out
    assert "1.20x torch (target 1.15x)" in output
    assert "1.20x onnx fp32 (target 1.5x: the export would refuse this graph)" in output
    assert "refused: no layer to quantize" in output

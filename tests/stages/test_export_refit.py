import json

import numpy as np
import pytest
import torch

from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.runtime.artifact import find_artifact
from medtune.serving.bundle import Bundle
from medtune.serving.members import REFIT
from medtune.stages import evaluate, export, frozen, gate
from medtune.training.checkpoint import load_trained


@pytest.mark.slow
def test_run__refit_exports_one_network_with_the_metrics_of_the_folds(make_world):
    world = make_world()
    tree = world.params.model_dump(mode="json")
    tree["model"]["head"], tree["final"] = {"kind": "logistic"}, "refit"
    params = validate(tree)
    for fold in params.trained_networks:
        frozen.run(params, world.paths, fold)
    evaluated = evaluate.run(params, world.paths)
    folder = export.run(params, world.paths).folder
    document, record = json.loads((folder / "bundle.json").read_text()), evaluated.result()
    assert document["exported"]["final"] == "refit"
    assert [member["fold"] for member in document["members"]] == [None]
    assert document["members"][0]["temperature"] == record["refit"]["temperature"]
    assert document["decision"] == record["refit"]["decision"] == record["decision"]
    assert document["members"][0]["choices"] == {"frozen": {"C": 2.0}}
    assert "| none: trained on all images | frozen | C 2 |" in (folder / "MODEL_CARD.md").read_text()
    assert [fold["choices"] for fold in document["metrics"]["folds"]] == [{"frozen": {"C": 2.0}}] * 3
    assert "<td>C 2</td>" in (evaluated.folder / "report.html").read_text()
    assert (
        "one network that was trained on all 45 labeled images (C 2, selected" in (folder / "MODEL_CARD.md").read_text()
    )
    assert "trained on all 45 labeled images" in (evaluated.folder / "report.html").read_text()
    prepared = load_prepared(world.paths.prepared)
    images = np.ascontiguousarray(prepared.images[:])
    network = load_trained(find_artifact(world.paths.stage("frozen", REFIT)))
    with torch.inference_mode():
        logits = network(network.preprocess(torch.from_numpy(images.copy())))
    expected = torch.softmax(logits / record["refit"]["temperature"], -1).numpy()
    assert Bundle.load(folder).run(images) == pytest.approx(expected, abs=1e-4)
    averaged = evaluate.run(validate(tree | {"final": "ensemble"}), world.paths)
    metrics = [json.loads((evaluated.folder / "metrics.json").read_text())["test"], document["metrics"]["test"]]
    assert json.loads((averaged.folder / "metrics.json").read_text())["test"] == metrics[0] == metrics[1]
    assert not gate.run(params, world.paths, None).promoted

from types import SimpleNamespace

import numpy as np
from PIL import Image

from medtune.evaluation.intervals import Interval
from medtune.evaluation.metric import Metric
from medtune.evaluation.subgroup_metrics import Subgroup, Subgroups
from medtune.evaluation.subgroup_plot import draw_subgroups
from medtune.evaluation.subgroup_report import subgroup_section

METRICS = (Metric("auroc", "AUROC", "max", lambda stats: stats, headline=True),)
FACTS = {"patients_known": False, "percent": "95"}


def documents(value="F"):
    metrics = [Interval(0.9, 0.8, 0.95), Interval(0.5, None, None, "2 patients, but an interval needs 5"),
               Interval(None, None, None, "no test image")]  # fmt: skip
    names = (value, "M", "not recorded")
    subgroups = (Subgroup(n, 9, 3, {"no": 3}, {"auroc": auroc}) for n, auroc in zip(names, metrics, strict=True))
    return [Subgroups("sex", tuple(subgroups), ()).as_dict()]


def test_subgroup_section__escapes_names_and_states_reasons(tmp_path):
    plot = tmp_path / "plot.png"
    draw_subgroups(plot, documents(), {"auroc": SimpleNamespace(value=0.7)}, METRICS, "title")
    page = subgroup_section(documents("<b>"), METRICS, FACTS, plot)
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "0.900 (0.800 to 0.950)" in page
    assert "M: 2 patients, but an interval needs 5." in page
    assert "interval over images" in page
    assert "largest gap</th>" not in page


def test_subgroup_section__is_empty_without_subgroups(tmp_path):
    assert subgroup_section([], METRICS, FACTS, tmp_path / "none.png") == ""


def test_draw_subgroups__draws_values_and_intervals(tmp_path):
    images = []
    for name, test in (("a.png", {"auroc": SimpleNamespace(value=0.7)}), ("b.png", {})):
        draw_subgroups(tmp_path / name, documents(), test, METRICS, "title")
        images.append(np.asarray(Image.open(tmp_path / name).convert("RGB"), np.int64))
    blue = (np.abs(images[0] - [0x00, 0x72, 0xB2]).max(axis=2) < 30).sum()
    assert blue > 100  # an interval and a dot
    assert (np.abs(images[1] - [0x00, 0x72, 0xB2]).max(axis=2) < 30).sum() == 0  # the metric is not defined

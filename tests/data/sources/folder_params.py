"""Params of source `folder` and the samples that stage data reads."""

from medtune.data.sample_checks import check_samples
from medtune.data.sources import folder


def params(**options):
    return folder.Params(root="x", **options)


def read(root, options):
    """List the samples like stage data."""
    return check_samples(folder.list_samples(root, options), options, folder.classes(options)).samples


def table(root, text):
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return params(csv="labels.csv")

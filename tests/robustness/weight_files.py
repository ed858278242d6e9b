"""Weight files of a user and of the model hub."""

import hashlib

from tests.robustness import job


def with_weights(path):
    """Return the params of a job that loads a user's weight file."""
    return job.params({"model": {"weights": str(path), "normalization": {"mean": [0.5] * 3, "std": [0.5] * 3}}})


def write_hub_cache(folder, repo, name, content):
    """Write a weight file to a cache in the layout of huggingface_hub, and return its blob."""
    model = folder / f"models--{repo.replace('/', '--')}"
    blob, link = model / "blobs" / hashlib.sha256(content).hexdigest(), model / "snapshots" / "abc" / name
    for parent in (blob.parent, link.parent, model / "refs"):
        parent.mkdir(parents=True, exist_ok=True)
    (model / "refs" / "main").write_text("abc")
    blob.write_bytes(content)
    link.unlink(missing_ok=True)
    link.symlink_to(f"../../blobs/{blob.name}")
    return blob

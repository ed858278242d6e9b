"""The DVC remote: a probe is written there, read and deleted, as `medtune remote` does."""

from medtune.config.errors import InputError
from medtune.doctor.result import Finding, Job, ok, wrong
from medtune.serving.one_line import first_line


def remote(job: Job) -> Finding:
    """Whether the remote that is set, if one is, takes files and gives them back."""
    from medtune.registry.remote import default, probe
    from medtune.registry.remote_url import masked

    try:
        settings, name = default()
    except InputError as error:
        return wrong(first_line(error), "mend .dvc/config, or clone again")
    if name is None:
        return ok("none is set; medtune remote URL keeps data and results elsewhere too")
    url = masked(settings["remote"][name]["url"])
    if job.offline and "://" in url:
        return ok(f"{name}: {url}, not asked (--offline)")
    try:
        seconds = probe(settings, name)
    except InputError as error:
        told = first_line(error).removesuffix("; nothing was changed")
        return wrong(f"{name}: {told}", "connection, credentials (docs/remotes.md), or medtune remote URL")
    return ok(f"{name}: {url}, wrote, read and deleted a probe in {seconds:.1f} s")

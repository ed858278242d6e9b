"""The DVC remote: a probe is written there, read and deleted, as `python -m config.remote` does."""

from config.doctor.finding import Finding, Job, ok, short, wrong
from config.errors import InputError


def remote(job: Job) -> Finding:
    """Whether the remote that is set, if one is, takes files and gives them back."""
    from config.remote import default, probe
    from config.remote_url import masked

    try:
        settings, name = default()
    except InputError as error:
        return wrong(short(error), "mend .dvc/config, or clone again")
    if name is None:
        return ok("none is set; python -m config.remote URL keeps data and results elsewhere too")
    url = masked(settings["remote"][name]["url"])
    if job.offline and "://" in url:
        return ok(f"{name}: {url}, not asked (--offline)")
    try:
        seconds = probe(settings, name)
    except InputError as error:
        told = short(error).removesuffix("; nothing was changed")
        return wrong(f"{name}: {told}", "connection, credentials (docs/remotes.md), or python -m config.remote URL")
    return ok(f"{name}: {url}, wrote, read and deleted a probe in {seconds:.1f} s")

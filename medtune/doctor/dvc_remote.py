"""The DVC remote: a probe is written there, read and deleted, as `medtune remote` does."""

from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning
from medtune.serving.one_line import first_line


def check_remote(context: Context) -> CheckResult:
    """Whether the remote that is set, if one is, takes files and gives them back."""
    from medtune.registry.remote import default_remote, probe_remote
    from medtune.registry.remote_url import mask_secrets

    if not (PROJECT / ".dvc").is_dir():
        return warning("this project is not a DVC repository", "git init && dvc init: `dvc repro` needs them")
    try:
        settings, name = default_remote()
    except InputError as error:
        return failure(first_line(error), "correct .dvc/config, or clone again")
    if name is None:
        return ok("none is set; medtune remote URL keeps data and results elsewhere too")
    url = mask_secrets(settings["remote"][name]["url"])
    if context.offline and "://" in url:
        return ok(f"{name}: {url}, not asked (--offline)")
    try:
        seconds = probe_remote(settings, name)
    except InputError as error:
        message = first_line(error).removesuffix("; nothing was changed")
        return failure(f"{name}: {message}", "connection, credentials (docs/remotes.md), or medtune remote URL")
    return ok(f"{name}: {url}, wrote, read and deleted a probe in {seconds:.1f} s")

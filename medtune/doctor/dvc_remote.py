"""Check of the DVC remote with a small temporary file, as in `medtune remote`."""

from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning
from medtune.serving.one_line import first_line


def check_remote(context: Context) -> CheckResult:
    """Check that files can be written to and read from the default remote."""
    from medtune.registry.remote import UNCHANGED, default_remote, probe_remote
    from medtune.registry.remote_url import mask_secrets

    if not (PROJECT / ".dvc").is_dir():
        return warning("this project is not a DVC repository", "git init && dvc init: `dvc repro` needs them")
    try:
        settings, name = default_remote()
    except InputError as error:
        return failure(first_line(error), "fix .dvc/config, or clone again")
    if name is None:
        return ok("no remote is set; `medtune remote URL` sets one for data and results")
    url = mask_secrets(settings["remote"][name]["url"])
    if context.offline and "://" in url:
        return ok(f"{name}: {url}, not contacted (--offline)")
    try:
        seconds = probe_remote(settings, name)
    except InputError as error:
        message = first_line(error).partition(UNCHANGED)[0]
        return failure(f"{name}: {message}", "check connection and credentials, see docs/remotes.md")
    return ok(f"{name}: {url}, wrote, read and deleted a probe in {seconds:.1f} s")

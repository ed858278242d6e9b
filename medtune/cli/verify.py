"""`medtune verify`: check a bundle."""

from medtune.cli import options
from medtune.cli.json_output import print_json

app = options.program()


@app.command(epilog=options.examples("medtune verify artifacts/export", "medtune verify published/current --json"))
def verify(
    bundle: options.BundleFolder,
    precision: options.Precision = "fp32",
    provider: options.Provider = "cpu",
    as_json: options.AsJson = False,
) -> None:
    """Verify a bundle's files and its sample predictions.

    Exits 2 if a file is damaged or a sample's output differs more than the precision may.
    """
    from medtune.config.errors import InputError
    from medtune.serving.bundle import Bundle, BundleError

    try:
        loaded = Bundle.load(bundle, precision, provider)
        difference = loaded.self_test()
    except BundleError as error:
        raise InputError(str(error)) from error
    files, first = len(loaded.manifest["files"]), loaded.providers[0]
    if as_json:
        classes = loaded.manifest.get("classes")
        print_json({"files": files, "classes": classes, "precision": precision, "provider": first,
                    "sample_difference": difference})  # fmt: skip
    else:
        print(f"sound: {files} files verified, {loaded.task.summary(loaded.manifest)}; "
              f"{precision} on {first}, samples within {difference:.1g}")  # fmt: skip

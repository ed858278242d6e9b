"""Command `medtune verify`."""

from medtune.cli import options
from medtune.cli.bundle_errors import as_input_errors
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

    A bundle contains some inputs with the expected outputs. The command runs
    them on this machine.

    Exit codes: 0 valid, 2 a file is damaged, or an output differs too much.
    """
    from medtune.serving.any_bundle import load_bundle

    with as_input_errors():
        loaded = load_bundle(bundle, precision, provider)
        difference = loaded.self_test()
    files, first = len(loaded.manifest["files"]), loaded.providers[0]
    if as_json:
        classes = loaded.manifest.get("classes")
        print_json({"files": files, "classes": classes, "precision": precision, "provider": first,
                    "sample_difference": difference})  # fmt: skip
    else:
        print(f"sound: {files} files verified, {loaded.task.summary(loaded.manifest)}; "
              f"{precision} on {first}, sample predictions differ by at most {difference:.1g}")  # fmt: skip

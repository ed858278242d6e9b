"""`make sbom`: write the packages of a lock as a CycloneDX 1.6 bill of materials in JSON.

The script needs the environment of requirements/audit.lock, because it validates the result with cyclonedx-python-lib.
The output depends only on the lock and pyproject.toml, and contains no address of a package registry.
"""

import argparse
import hashlib
import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$")
HASH = re.compile(r"^\s+--hash=sha256:(?P<sha256>[0-9a-f]{64})")


def components(lock: str) -> list[dict[str, Any]]:
    """Return one component per line `name==version` of a lock, with the digests of the package's files."""
    packages: list[dict[str, Any]] = []
    for line in lock.splitlines():
        if package := PACKAGE.match(line):
            name, version = re.sub(r"[-_.]+", "-", package["name"]).lower(), package["version"]
            purl = f"pkg:pypi/{name}@{version}"
            packages.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
                             "externalReferences": [{"type": "distribution", "url": purl, "hashes": []}]})  # fmt: skip
            if package["marker"]:
                packages[-1]["properties"] = [{"name": "medtune:marker", "value": package["marker"]}]
        elif digest := HASH.match(line):
            packages[-1]["externalReferences"][0]["hashes"].append({"alg": "SHA-256", "content": digest["sha256"]})
    return packages


def document(lock: Path) -> dict[str, Any]:
    """Return the bill of materials of a lock, without the dependencies between packages."""
    content = lock.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    medtune = {
        "type": "application",
        "bom-ref": "medtune",
        "name": project["name"],
        "version": project["version"],
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
        "properties": [
            {"name": "medtune:lock", "value": f"requirements/{lock.name}"},
            {"name": "medtune:lock:sha256", "value": digest},
        ],
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {"component": medtune},
        "components": components(content.decode("utf-8")),
    }


def schema_error(text: str) -> str | None:
    """Return the first violation of the CycloneDX schema, or None."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if error is None else str(error)[:500]


def main() -> int:
    """Write `<out>/medtune-<lock>.cdx.json` per lock."""
    parser = argparse.ArgumentParser(description="Write a CycloneDX bill of materials for each lock.")
    parser.add_argument("locks", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=PROJECT / ".cache" / "sbom")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for lock in args.locks:
        bom = document(lock)
        text = json.dumps(bom, indent=2) + "\n"
        if error := schema_error(text):
            print(f"error: {lock}: not valid CycloneDX: {error}", file=sys.stderr)
            return 1
        target = args.out / f"medtune-{lock.stem}.cdx.json"
        target.write_text(text, encoding="utf-8")
        print(f"{target}: {len(bom['components'])} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())

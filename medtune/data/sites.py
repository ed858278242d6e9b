"""Site of each image and test fold of each site, for protocol `site` (leave one site out)."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from medtune.config.data import SplitParams
from medtune.config.errors import InputError, fill_in, pluralize, set_option, suggestion
from medtune.data.class_selection import list_names
from medtune.data.columns import require_column
from medtune.data.identifiers import is_missing, label_key, similar, spell
from medtune.data.sample import Sample
from medtune.data.table import Table
from medtune.serving.folder_scan import printable

NAME = "site"


def add_sites(rows: Sequence[Sample], table: Table, name: str | None) -> list[Sample]:
    """Set the site of each sample from a column of the table.

    Args:
        rows: one sample per row of `table`.
        table: the table.
        name: `data.columns.site`; None: `site`.

    Returns:
        The samples with sites, in the same order.

    Raises:
        InputError: there is no such column.
    """
    position = require_column(table, NAME, name, "site")
    sites = [row[position].strip() for _, row in table.rows]
    return [replace(row, site=site) for row, site in zip(rows, sites, strict=True)]


def order_sites(samples: Sequence[Sample], params: SplitParams, source: str) -> list[str]:
    """Return the sites in the order of their test folds.

    Args:
        samples: all images.
        params: section `data.split` of params.yaml.
        source: name of the source, for messages.

    Returns:
        The sites, sorted. If `params.test_fold` is the name of a site, this site comes first.

    Raises:
        InputError: sites are missing or differ only in spelling, there are fewer than two sites, a patient is at
            several sites, or `folds` or `test_fold` does not match the sites.
    """
    sites = [sample.site for sample in samples if sample.site is not None]
    if len(sites) < len(samples):
        raise InputError(
            f"data.split.protocol=site: the data (data.source={source}) have no sites. Use a table with a column site "
            "(data.csv, data.columns.site)"
        )
    if unknown := [sample for sample, site in zip(samples, sites, strict=True) if is_missing(site)]:
        raise InputError(
            f"data.split.protocol=site: {pluralize(len(unknown), 'image')} without a site, for example "
            f"{_location(unknown[0])}. "
            f"{fill_in(len(unknown))}"
        )
    if spellings := similar(sites, label_key):
        raise InputError(
            f"data.split.protocol=site: sites {' and '.join(spell(*spellings[0]))} differ only in case, blanks, "
            "Unicode form or a final dot. Write each site in one way"
        )
    _check_patients(samples)
    counts = Counter(sites)
    names = sorted(counts)
    shown = list_names([f"{name} {counts[name]:,}" for name in names])
    if len(names) < 2:
        raise InputError(
            f"data.split.protocol=site: only one site ({shown}), but at least two are needed. Use another protocol"
        )
    if len(names) != params.folds:
        raise InputError(
            f"data.split.folds={params.folds}: the table has {pluralize(len(names), 'site')} ({shown}), one "
            "per fold. Add "
            f"{set_option('data.split.folds', len(names))}"
        )
    chosen = params.test_fold
    if chosen == "all":
        return names
    if not isinstance(chosen, str):
        if str(chosen) in counts and names[chosen] != str(chosen):
            raise InputError(
                f"data.split.test_fold={chosen}: {chosen} is both the number of a fold (site {names[chosen]}) and the "
                f"name of a site. Name the site: {set_option('data.split.test_fold', str(chosen))} or "
                f"{set_option('data.split.test_fold', names[chosen])}"
            )
        return names
    if chosen not in counts:
        raise InputError(f"data.split.test_fold={chosen}: no such site{suggestion(chosen, names)}. Sites: {shown}")
    return [chosen, *(name for name in names if name != chosen)]


def _check_patients(samples: Sequence[Sample]) -> None:
    """Reject patients with images from several sites."""
    # For each patient, the location of the first image by site.
    locations: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for sample in samples:
        if sample.patient_id is not None and sample.site is not None:
            locations[sample.patient_id].setdefault(sample.site, _location(sample))
    moved = [patient for patient, by_site in locations.items() if len(by_site) > 1]
    if moved:
        sites = " and ".join(f"{site} ({location})" for site, location in locations[moved[0]].items())
        more = f"; {len(moved) - 1:,} more patients are at several sites" if len(moved) > 1 else ""
        raise InputError(
            f"data.split.protocol=site: patient {moved[0]} is at {sites}{more}. Assign each patient to one site, or "
            "use data.split.protocol=patient"
        )


def _location(sample: Sample) -> str:
    """Return the location of a sample, for messages."""
    return sample.where or printable(sample.path)

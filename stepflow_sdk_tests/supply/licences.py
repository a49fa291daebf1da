"""Whether packages may be used by whoever uses this one: their licences are permissive."""

import re
from collections.abc import Mapping
from importlib.metadata import Distribution

ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    }
)
"""By their SPDX names."""

_NAMES = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "MIT License": "MIT",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "PSFL": "PSF-2.0",
}
_EXCEPTION = re.compile(r"\s+WITH\s+LLVM-exception")


def refused_licences(packages: Mapping[str, Distribution]) -> list[str]:
    """The packages whose licence is not allowed, each with what it says of it."""
    said = {name: licence_of(package) for name, package in packages.items()}
    return [
        f"{name}: {licence or 'it names no licence'}"
        for name, licence in sorted(said.items())
        if not _is_allowed(licence)
    ]


def licence_of(package: Distribution) -> str:
    """The licence that the metadata of a package names, in the order in which it is to be believed."""
    metadata = package.metadata
    classifiers = [
        classifier.rpartition(" :: ")[2]
        for classifier in metadata.get_all("Classifier") or ()
        if classifier.startswith("License :: ") and classifier != "License :: OSI Approved"
    ]
    texts = [text.strip() for name in ("License-Expression", "License") for text in metadata.get_all(name) or ()]
    # Some have the whole text of the licence there.
    return next((text for text in texts if text and "\n" not in text), "") or " AND ".join(classifiers)


def _is_allowed(expression: str) -> bool:
    # Of alternatives one has to be allowed, of what holds together all; brackets do not occur among ours.
    plain = _EXCEPTION.sub("", expression)
    return all(
        any(_NAMES.get(name.strip(), name.strip()) in ALLOWED for name in part.split(" OR "))
        for part in plain.split(" AND ")
    )

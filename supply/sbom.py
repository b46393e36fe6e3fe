"""The software bill of materials of a release: what Fleetcast needs at run time, as CycloneDX 1.6 in JSON.

    usage: python -m supply.sbom FOLDER, in which it writes fleetcast-VERSION.cdx.json

Each package has its version, purl, licence as an SPDX expression, the packages it needs, and the sha256 of every file
that `constraints.txt` accepts. The packages are those that are installed on the machine that runs this: PyTorch's
standard build needs CUDA's packages, its build for CPUs does not.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from supply.licences import licence
from supply.packages import Package, needed
from supply.pins import pins, settings


def sbom(packages: Mapping[str, Package], hashes: Mapping[str, tuple[str, ...]], read: dict[str, str],
         project: str = "fleetcast") -> str:
    """The bill of `packages`, of which `project` is the one described, with the files' `hashes` by name.

    Raises:
        KeyError: a package other than `project` has no hashes.
        ValueError: a package has no known licence.
    """
    components = {name: _component(package, () if name == project else hashes[name], read)
                  for name, package in packages.items()}
    bom = Bom(components=[component for name, component in components.items() if name != project])
    bom.metadata.component = components[project]
    components[project].type = ComponentType.APPLICATION
    for name, package in packages.items():
        bom.register_dependency(components[name], [components[need] for need in package.needs])
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


def _component(package: Package, hashes: tuple[str, ...], read: dict[str, str]) -> Component:
    known = licence(package, read)
    if known is None:
        raise ValueError(f"{package.name} has no known licence: run `python -m supply.licences`")
    version = package.installed.version.partition("+")[0]  # a local version, as torch's +cpu, is a build of the same
    purl = PackageURL("pypi", None, package.name, version)
    files = [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(purl.to_string()),
                               hashes=[HashType(alg=HashAlgorithm.SHA_256, content=text) for text in hashes])]
    return Component(name=package.name, version=version, bom_ref=purl.to_string(), purl=purl,
                     licenses=[LicenseFactory().make_from_string(known)], external_references=files if hashes else [])


def main() -> None:
    packages = needed()
    text = sbom(packages, {pin.name: pin.hashes for pin in pins() if pin.here}, settings()["licences"])
    path = Path(sys.argv[1]) / f"fleetcast-{packages['fleetcast'].installed.version}.cdx.json"
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()

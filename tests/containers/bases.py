"""The images that docker-compose.yml and Dockerfile name: pulled, or else stand-ins made of Debian's packages.

A stand-in has the name of the original, but not its digest, its programs at the same paths, its entry point, its user,
and the label of LABEL. Those of the Prometheus project have no more than busybox beside the programs, as the originals.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.containers.engine import Engine, Failed

SUITE = "bookworm"  # as in python:3.11-slim-bookworm
PROGRAMS = "trixie"  # whose programs are the nearest to the tags, and run with the older libc
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
LABEL = "fleetcast.stand-in"
_DEBIAN = "localhost/fleetcast-stand-in/debian"
_PACKAGES = "python3,python3-pip,ca-certificates,busybox"
FILE = f"""FROM {_DEBIAN} AS packages
RUN echo deb {MIRROR} {PROGRAMS} main > /etc/apt/sources.list.d/programs.list && apt-get update -q && cd /tmp \\
 && apt-get download -q prometheus/{PROGRAMS} promtool/{PROGRAMS} \\
    prometheus-alertmanager/{PROGRAMS} prometheus-node-exporter/{PROGRAMS} \\
 && for package in *.deb; do dpkg -x $package /out; done \\
 && mkdir -p /image/bin /image/etc /image/tmp /empty && cp /bin/busybox /image/bin/ && cp /etc/passwd /image/etc/ \\
 && for name in cat grep id ls sh touch wget; do ln -s busybox /image/bin/$name; done \\
 && cp --parents $(ldd /bin/busybox /out/usr/bin/* | grep -o '/lib[^ ]*' | sort -u) /image

FROM {_DEBIAN} AS python
RUN ln -s /usr/bin/python3 /usr/local/bin/python && rm /usr/lib/python3.11/EXTERNALLY-MANAGED \\
 && printf '#!/bin/sh\\nexec python3 -m pip "$@"\\n' > /usr/local/bin/pip && chmod +x /usr/local/bin/pip
LABEL {LABEL}=1
CMD ["python3"]

FROM scratch AS program
COPY --from=packages /image/ /
USER nobody
LABEL {LABEL}=1

FROM program AS prometheus
COPY --from=packages /out/usr/bin/prometheus /out/usr/bin/promtool /bin/
COPY --from=packages --chown=65534:65534 /empty/ /prometheus/
WORKDIR /prometheus
VOLUME ["/prometheus"]
ENTRYPOINT ["/bin/prometheus"]

FROM program AS alertmanager
COPY --from=packages /out/usr/bin/prometheus-alertmanager /bin/alertmanager
COPY --from=packages /out/usr/bin/amtool /bin/
COPY --from=packages /out/usr/share/prometheus/alertmanager/ /usr/share/prometheus/alertmanager/
COPY --from=packages --chown=65534:65534 /empty/ /alertmanager/
WORKDIR /alertmanager
VOLUME ["/alertmanager"]
ENTRYPOINT ["/bin/alertmanager"]

FROM program AS node-exporter
COPY --from=packages /out/usr/bin/prometheus-node-exporter /bin/node_exporter
ENTRYPOINT ["/bin/node_exporter"]
"""


def by_tag(text: str) -> str:
    """The text with its images named by tag alone, as those here are named."""
    return re.sub("@sha256:[0-9a-f]{64}", "", text)


def prepare(engine: Engine, images: list[str], say: Callable[[str], None]) -> None:
    """Sees to it that every image is there, by tag. Failed where one can neither be pulled nor made."""
    for image in images:
        name = by_tag(image)
        if engine.has(name):
            continue
        try:
            engine.podman("pull", "--quiet", image, timeout=600)
            engine.podman("tag", image, name)
            say(f"{name}: pulled, with the digest")
        except Failed as error:
            _stand_in(engine, name, say)
            say(f"{name}: a stand-in, as it cannot be pulled ({str(error).splitlines()[-1][-120:]})")


def stand_ins(engine: Engine, images: list[str]) -> list[str]:
    """Those of the images that are stand-ins, by tag."""
    form = f'{{{{index .Labels "{LABEL}"}}}}'
    return [name for name in map(by_tag, images)
            if engine.podman("image", "inspect", "--format", form, name).strip() == "1"]


def target(image: str) -> str:
    """The stage of FILE that stands in for an image: docker.io/library/python:3.11-slim-bookworm is python."""
    return image.rpartition("/")[2].partition(":")[0]


def _stand_in(engine: Engine, image: str, say: Callable[[str], None]) -> None:
    if not engine.has(_DEBIAN):
        _debian(engine, say)
    with tempfile.TemporaryDirectory(dir=engine.folder) as context:
        file = Path(context, "Containerfile")
        file.write_text(FILE)
        engine.podman("build", "--network=host", "--target", target(image), "--tag", image, "--file", file, context,
                      timeout=900)


def _debian(engine: Engine, say: Callable[[str], None]) -> None:
    say(f"Debian {SUITE} is made with debootstrap from {MIRROR} (minutes)")
    with tempfile.TemporaryDirectory(dir=engine.folder) as made:
        root, archive = Path(made, "root"), Path(made, "root.tar")
        engine.run(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", SUITE, root, MIRROR], 1800)
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        engine.run(["tar", "-C", root, "-cf", archive, "."], 300)
        engine.podman("import", "--quiet", archive, _DEBIAN, timeout=600)

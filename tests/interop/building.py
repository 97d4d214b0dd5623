"""Peers that Debian 12 does not package: built or fetched once, by `make peers`.

They go to the directory SCEPKIT_PEERS, or to scepkit/peers in the user's cache directory, each to
a place named by what it was built from. Tests look for them there and build nothing.
What cannot be had here, for want of Go, Maven or apt, is said; with CI=true it is a failure.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# Seconds that building one peer may take, with a cold cache and on a small machine.
BOUND = 20 * 60

_DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"

# Later plugins may bring another Maven; this one copies jars and does nothing else.
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


@dataclass(frozen=True)
class GoPeer:
    """Programs of one Go module; the checksum database vouches for what is downloaded."""

    name: str
    version: str
    packages: tuple[str, ...]

    needs = ("go",)
    where = "https://go.dev/dl"

    @property
    def id(self):
        return f"{self.name}-{self.version}"

    def build(self, directory):
        """Build into a directory; there is a program for each package then."""
        variables = {
            "GOBIN": str(directory),
            "GOFLAGS": "-trimpath -buildvcs=false",
            "CGO_ENABLED": "0",
        }
        wanted = [f"{package}@v{self.version}" for package in self.packages]
        _run("go", "install", *wanted, cwd=directory, **variables)


@dataclass(frozen=True)
class GoProgram:
    """A program of our own in Go, of its standard library alone."""

    name: str
    sources: Path

    needs = ("go",)
    where = "https://go.dev/dl, or Debian's golang-go"

    @property
    def id(self):
        return f"{self.name}-{_digest(self.sources)}"

    def build(self, directory):
        """Build into a directory."""
        variables = {"GOFLAGS": "-trimpath -buildvcs=false", "CGO_ENABLED": "0"}
        _run("go", "build", "-o", directory / self.name, ".", cwd=self.sources, **variables)


@dataclass(frozen=True)
class MavenPeer:
    """A Java library and our driver of it, that becomes classes beside the library's jars."""

    name: str
    version: str
    sources: Path

    needs = ("mvn", "javac", "java")
    where = "Debian's maven and openjdk-17-jdk-headless"

    @property
    def id(self):
        return f"{self.name}-{self.version}-{_digest(self.sources)}"

    def build(self, directory):
        """Build into a directory: jars in lib/, the driver in classes/."""
        jars = f"{directory}/lib"
        pom = ("-f", self.sources / "pom.xml", f"-Djscep.version={self.version}")
        # -C: what has not the checksum that the repository names is not used.
        _run("mvn", "-q", "-B", "-C", *pom, _COPY, f"-DoutputDirectory={jars}", cwd=directory)
        options = ("--release", "17", "-Xlint:all", "-encoding", "UTF-8", "-cp", f"{jars}/*")
        sources = self.sources.glob("*.java")
        _run("javac", *options, "-d", directory / "classes", *sources, cwd=directory)


def _digest(sources):
    digest = hashlib.sha256()
    for file in sorted(sources.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class DebianPeer:
    """Packages of another Debian with all that they need, unpacked into a tree of their own.

    Nothing of them is installed: `programs.inside` runs a program with the tree for its /usr and
    /etc. The release fixes the versions; tests compare them with those that the page names.
    """

    name: str
    release: str
    packages: tuple[str, ...]

    needs = ("apt-get", "dpkg-deb", "bwrap")
    where = "Debian's bubblewrap, on Debian"

    @property
    def id(self):
        digest = hashlib.sha256(" ".join(self.packages).encode()).hexdigest()
        return f"{self.name}-{self.release}-{digest[:12]}"

    def build(self, directory):
        """Build into a directory: the tree in root/."""
        root, apt = directory / "root", directory / "apt"
        for place in (root, apt / "lists" / "partial", apt / "cache" / "archives" / "partial"):
            place.mkdir(parents=True)
        variables = {"APT_CONFIG": str(self._configure(apt))}
        _run("apt-get", "-qq", "update", cwd=apt, **variables)
        fetch = ("install", "-y", "--download-only", "--no-install-recommends")
        _run("apt-get", "-qq", *fetch, *self.packages, cwd=apt, **variables)
        for package in sorted((apt / "cache" / "archives").glob("*.deb")):
            _run("dpkg-deb", "-x", package, root, cwd=apt)
        for name in ("passwd", "group"):  # the files of the machine will lie over them
            (root / "etc" / name).touch()
        shutil.rmtree(apt)

    def _configure(self, apt):
        """Let apt keep everything in a directory, where nothing is installed yet."""
        (apt / "status").touch()
        source = f"deb [signed-by={_DEBIAN_KEYS}] {_mirror(apt)} {self.release} main\n"
        (apt / "sources.list").write_text(source)
        settings = {
            "Dir::State": apt,
            "Dir::State::status": apt / "status",
            "Dir::Cache": apt / "cache",
            "Dir::Etc::sourcelist": apt / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "true",
        }
        lines = [f'{name} "{value}";\n' for name, value in settings.items()]
        (apt / "apt.conf").write_text("".join(lines))
        return apt / "apt.conf"


def _mirror(cwd):
    """Return the address that this machine has Debian from."""
    filters = ("Created-By: Packages", "Label: Debian")
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *filters]
    said = subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    addresses = said.stdout.split()
    if not addresses:
        raise OSError("apt knows no address of Debian")
    return addresses[0]


MICROMDM = GoPeer(
    "micromdm-scep",
    "2.3.0",
    tuple(f"github.com/micromdm/scep/v2/cmd/{name}" for name in ("scepclient", "scepserver")),
)
STEP_CA = GoPeer("step-ca", "0.30.2", ("github.com/smallstep/certificates/cmd/step-ca",))
JSCEP = MavenPeer("jscep", "2.5.8", Path(__file__).parent / "jscep")
GO_VERIFY = GoProgram("goverify", Path(__file__).parent / "goverify")
DEBIAN_13 = DebianPeer(
    "debian",
    "trixie",
    (
        "certmonger",
        "dash",
        "dbus-daemon",
        "libstrongswan-extra-plugins",
        "libstrongswan-standard-plugins",
        "strongswan-pki",
    ),
)

PEERS = (MICROMDM, STEP_CA, JSCEP, GO_VERIFY, DEBIAN_13)


def cache():
    """Return the directory that everything built is in."""
    if named := os.environ.get("SCEPKIT_PEERS"):
        return Path(named).absolute()
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user).absolute() / "scepkit" / "peers"


def place(peer):
    """Return the directory of a peer, which is there when it is whole."""
    return cache() / peer.id


def make(peer):
    """Build a peer unless it is there; it appears whole or not at all."""
    if place(peer).exists():
        return
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache(), prefix=".building-") as scratch:
        made = Path(scratch) / peer.id
        made.mkdir()
        peer.build(made)
        # Of two that built the same, the first to be done wins.
        if not place(peer).exists():
            made.rename(place(peer))


def _run(*command, cwd, **variables):
    """Run a step of a build; it and its children end with it, or when the time is over."""
    step = [str(part) for part in command]
    with subprocess.Popen(
        step, cwd=cwd, env=os.environ | variables, stdin=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            status = process.wait(BOUND)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if status:
        raise subprocess.CalledProcessError(status, step)


def main():
    """Build what can be built; the status is 1 when a peer failed, or is missing where CI runs."""
    return max(_attempt(peer) for peer in PEERS)


def _attempt(peer):
    """Build a peer, say what became of it, and return a status."""
    missing = [name for name in peer.needs if shutil.which(name) is None]
    if missing and not place(peer).exists():
        _say(f"{peer.id}: skipped, there is no {', no '.join(missing)} ({peer.where})")
        return int(bool(os.environ.get("CI")))
    began = time.monotonic()
    try:
        make(peer)
    except (subprocess.SubprocessError, OSError) as error:
        _say(f"{peer.id}: failed: {error}")
        return 1
    _say(f"{peer.id}: {place(peer)} ({time.monotonic() - began:.0f} s)")
    return 0


def _say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

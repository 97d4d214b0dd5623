"""A bare Debian 12 in a directory, made by debootstrap, in which pages are walked as root.

It reaches packages as this machine does: apt's sources and settings, pip's settings and the trusted
certificates are taken from here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

RELEASE = "bookworm"
_TRUSTED = "/etc/ssl/machine.pem"  # beside what Debian's package ca-certificates brings
_OF_THE_MACHINE = ("PIP_", "UV_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_TRUST = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

# A namespace of its own for processes: what is left of a walk ends with it.
_ENTER = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'


class Debian:
    """A Debian in a directory.

    Args:
        root: the directory.
    """

    def __init__(self, root):
        self.root = root

    @classmethod
    def bootstrapped(cls, root):
        """Make a Debian with debootstrap, from the mirror that this machine's apt uses."""
        _run("debootstrap", "--variant=minbase", RELEASE, root, _mirror())
        made = cls(root)
        made._like_the_machine()
        return made

    def copied(self, root):
        """Return a copy in another directory."""
        _run("cp", "--archive", self.root, root)
        return type(self)(root)

    @property
    def outside(self):
        """The command that leads into it."""
        flags = ("--mount", "--pid", "--fork", "--kill-child=SIGTERM")
        return ["unshare", *flags, "sh", "-c", _ENTER, str(self.root)]

    @property
    def environment(self):
        """The variables of root's shell in it."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            **{
                name: value
                for name, value in os.environ.items()
                if name.upper().startswith(_OF_THE_MACHINE) and name != "PIP_FIND_LINKS"
            },
            **{name: _TRUSTED for name in _TRUST if self._trusts_more},
        }

    @property
    def _trusts_more(self):
        return (self.root / _TRUSTED.lstrip("/")).exists()

    def _like_the_machine(self):
        etc = self.root / "etc"
        for name in ("resolv.conf", "hosts", "pip.conf"):
            if Path("/etc", name).exists():
                shutil.copy(Path("/etc", name), etc / name)
        settings = subprocess.run(
            ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True
        ).stdout
        (etc / "apt/apt.conf.d/99machine").write_text(settings)
        # It need not be there after a power failure.
        (etc / "dpkg/dpkg.cfg.d").mkdir(exist_ok=True)
        (etc / "dpkg/dpkg.cfg.d/machine").write_text("force-unsafe-io\n")
        trusted = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
        if Path(trusted).exists():
            (etc / "ssl").mkdir(exist_ok=True)
            shutil.copy(trusted, self.root / _TRUSTED.lstrip("/"))


def _mirror():
    """Return the address of this machine's Debian mirror."""
    wanted = ("--format", "$(SITE) $(CODENAME)", "Created-By: Packages")
    done = _run("apt-get", "indextargets", *wanted)
    for line in done.splitlines():
        site, _, codename = line.partition(" ")
        if codename == RELEASE:
            return site
    return "http://deb.debian.org/debian"


def _run(*command):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout

"""A machine of its own: a real systemd on an overlay of this one, and a network with an outside.

It needs root, unshare, systemd, overlayfs and a cgroup2 that can be written. What runs in it sees
the programs of this machine, changes nothing on it, and is gone when it is stopped.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import scepkit
from interop.programs import Daemon, do_without, environment, require, run
from waiting import wait_until

ADDRESS = "198.51.100.2"
"""The address of the machine, as the outside knows it."""

# Whatever ends the tests ends the machine.
_WITH_US = ("setpriv", "--pdeathsig", "KILL")

_OUTSIDE = "198.51.100.1"
_NAME = "pki.example.com"

# The root is an overlay in memory; the Python of the tests is where the page installs one.
_BOOT = """\
set -e
echo $$ > "$CGROUP/cgroup.procs"
exec setpriv --pdeathsig KILL unshare --kill-child --fork \\
    --pid --mount --uts --ipc --net --cgroup sh -c '
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
rm -rf opt/scepkit etc/machine-id etc/systemd/system/scep.service* var/lib/scep
touch etc/machine-id
mkdir -p opt/scepkit/bin opt/scepkit/python opt/scepkit/packages opt/scepkit/src old
mount --bind "$PYTHON" opt/scepkit/python
mount --bind "$PACKAGES" opt/scepkit/packages
mount --bind "$SOURCE" opt/scepkit/src
printf "%s" "$SCEP" > opt/scepkit/bin/scep
chmod 755 opt/scepkit/bin/scep
ip link set lo up
pivot_root . old
umount -l /old
exec env -i container=scep-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target
'
"""

_SCEP = f"""\
#!/bin/sh
export PYTHONHOME=/opt/scepkit/python LD_LIBRARY_PATH=/opt/scepkit/python/lib
export PYTHONPATH=/opt/scepkit/src:/opt/scepkit/packages PYTHONDONTWRITEBYTECODE=1
exec /opt/scepkit/python/bin/python{sys.version_info.major}.{sys.version_info.minor} -m scepkit "$@"
"""


class Machine:
    """A machine that is booted, until `stop`; without it a test is skipped, or fails in CI.

    Args:
        directory: where the outside keeps its files.
    """

    def __init__(self, directory):
        require("setpriv", "unshare", "nsenter", "ip", "ss", "mount", "pivot_root", "systemctl")
        self.directory = directory
        self._mark = ""
        self._cgroup = _new_cgroup()
        self._stack = contextlib.ExitStack()
        self._stack.callback(_remove_cgroup, self._cgroup)
        try:
            self._boot()
            self._connect()
            Daemon.running.append(self)
            self._stack.callback(Daemon.running.remove, self)
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def _start(self, *command, **variables):
        log = self._stack.enter_context((self.directory / "machine.log").open("ab"))
        process = subprocess.Popen(
            command,
            env=environment(self.directory, **variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _boot(self):
        process = self._start(
            *("sh", "-c", _BOOT),
            CGROUP=str(self._cgroup),
            PYTHON=sys.base_prefix,
            PACKAGES=sysconfig.get_path("purelib"),
            SOURCE=str(Path(scepkit.__file__).parents[1]),
            SCEP=_SCEP,
        )

        def init():
            if process.poll() is not None:
                said = (self.directory / "machine.log").read_text(errors="replace")
                do_without(f"no machine of its own could be booted: {said[-400:]}")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            with contextlib.suppress(FileNotFoundError, IndexError):
                child = children.read_text().split()[0]
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
            return None

        self._init = wait_until(init, "systemd to start")
        wait_until(
            lambda: (
                self.tried("systemctl is-system-running").out.strip() in {"running", "degraded"}
            ),
            "systemd to be up",
        )

    def _connect(self):
        """Lay a cable to a network namespace that has nothing but its other end."""
        hosts = self.directory / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{ADDRESS} {_NAME}\n")
        script = 'mount --bind "$HOSTS" /etc/hosts && ip link set lo up && exec sleep infinity'
        command = (*_WITH_US, "unshare", "--net", "--mount", "sh", "-c", script)
        self._outside = self._start(*command, HOSTS=str(hosts)).pid
        comm = Path(f"/proc/{self._outside}/comm")
        wait_until(lambda: comm.read_text() == "sleep\n", "the outside")
        self.outside(
            f"ip link add outer type veth peer name inner netns {self._init}"
            f" && ip address add {_OUTSIDE}/24 dev outer && ip link set outer up"
        )
        self.run(f"ip address add {ADDRESS}/24 dev inner && ip link set inner up")
        self.run(f"echo 127.0.1.1 {_NAME} >> /etc/hosts")

    # its log, in the reports of tests that failed

    name = "the machine"

    def mark(self):
        """Begin a new chapter of its log."""
        self._mark = self.run("journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'").strip()

    def lately(self):
        """Return its log since `mark`."""
        after = f"--after-cursor '{self._mark}'" if self._mark else ""
        return self.tried(f"journalctl --no-pager -o cat {after} | tail -n 60").text

    # using it

    def run(self, command):
        """Type a command on the machine, as root; return its output."""
        return _good(command, self.tried(command))

    def has(self, program):
        """Say whether there is a program on the machine."""
        return self.tried(f"command -v {program}").status == 0

    def tried(self, command):
        """Type a command on the machine, as root, and return all that came of it."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        inside = ("nsenter", "-a", "-t", self._init, "env", "-i", path, "HOME=/root")
        return run(*inside, "/bin/bash", "-c", f"cd / && {command}", cwd=self.directory)

    def outside(self, command):
        """Type a command on another machine, in a directory of this one; return its output."""
        return _good(command, self.tried_outside(command))

    def tried_outside(self, command):
        """Type a command on another machine and return all that came of it."""
        inside = ("nsenter", "--net", "--mount", "-t", self._outside)
        where = f"cd {self.directory} && {command}"
        return run(*inside, "/bin/bash", "-c", where, cwd=self.directory)

    def write(self, path, text, mode=0o644):
        """Write a file, as root."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def path(self, path):
        """Return where a file of the machine is for the tests."""
        return Path(f"/proc/{self._init}/root{path}")

    def stop(self):
        """Switch it off."""
        self._stack.close()


def _good(command, done):
    assert done.status == 0, f"{command}\n{done.text}"
    return done.out


def _new_cgroup():
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = next((Path(one[1]) for one in mounts if one[2] == "cgroup2"), None)
    if os.geteuid() or found is None:
        do_without("a machine of its own takes root and a cgroup2")
    made = found / f"scep-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        do_without(f"a machine of its own takes a cgroup: {error}")
    return made


def _remove_cgroup(path):
    def removed():
        for directory, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)  # noqa: PTH106 - what os.walk returns
        return not path.exists()

    wait_until(removed, "the end of all processes of the machine")

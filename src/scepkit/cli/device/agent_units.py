"""The text of the files that start `scep agent --once` again and again: systemd's, and cron's."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scepkit.client.agent import schedule

SERVICE, TIMER, CRON = "scep-agent.service", "scep-agent.timer", "scep-agent"

_HEAD = "# Written by scep agent install.\n"

# What a hook usually needs: to write files for other programs, and to send them signals.
_CAPABILITIES = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL"

_ANY_MANAGER = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
"""

_SYSTEM_MANAGER = f"""\
CapabilityBoundingSet={_CAPABILITIES}
KeyringMode=private
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictNamespaces=yes
"""


@dataclass(frozen=True, slots=True)
class Units:
    """The facts that the files are made of.

    Attributes:
        command: that looks once, in words.
        writable: the directories that it and its hooks write to.
        is_user: whether the user's own systemd starts it, which cannot do all of the hardening.
    """

    command: Sequence[str]
    writable: Sequence[Path]
    is_user: bool = False

    def service(self) -> str:
        """Return the service for systemd."""
        network = "" if self.is_user else _NETWORK
        return (
            f"{_HEAD}[Unit]\nDescription=Renewal of SCEP certificates\n{network}\n"
            f"[Service]\nType=oneshot\nExecStart={' '.join(map(_argument, self.command))}\n"
            "# Something waits for approval: no failure.\nSuccessExitStatus=3\n"
            f"TimeoutStartSec=1h\n{self._hardening()}"
        )

    def timer(self) -> str:
        """Return the timer for systemd."""
        return (
            f"{_HEAD}[Unit]\nDescription=Renewal of SCEP certificates, every hour\n\n"
            "[Timer]\nOnCalendar=hourly\nRandomizedDelaySec=45min\nPersistent=true\n\n"
            "[Install]\nWantedBy=timers.target\n"
        )

    def cron(self) -> str:
        """Return the line for /etc/cron.d, or for a user's crontab."""
        # cron has no random delay, so each host has a minute of its own.
        minute = int(60 * schedule.draw("cron", platform.node()))
        who = "" if self.is_user else "root "
        line = shlex.join(self.command).replace("%", "\\%")
        path = "" if self.is_user else f"PATH={_PATH}\n"
        return f"{_HEAD}{path}{minute} * * * * {who}{line}\n"

    def _hardening(self) -> str:
        if self.is_user:
            return _ANY_MANAGER
        paths = " ".join(_quoted(f"-{path}") for path in self.writable)
        is_home = any(path.is_relative_to(home) for path in self.writable for home in _HOMES)
        home = "" if is_home else "ProtectHome=yes\n"
        return f"{_ANY_MANAGER}{_SYSTEM_MANAGER}{home}ReadWritePaths={paths}\n"


_NETWORK = "Wants=network-online.target\nAfter=network-online.target\n"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


def _argument(word: str) -> str:
    """Return a word of a command as systemd reads it: $ would be a variable."""
    return _quoted(word.replace("$", "$$"))


def _quoted(word: str) -> str:
    """Return a word as systemd reads it: % would be a specifier."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    is_plain = word and all(c.isalnum() or c in "/._-+=:,@" for c in word)
    return escaped if is_plain else f'"{escaped}"'

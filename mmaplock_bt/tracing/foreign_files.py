"""Opens files as another process sees them, whatever it has put in their place.

That process may belong to anybody. A path of its may lead to a FIFO that nobody writes to, to a
device that does something when it is opened, through a link out into our own root, or into a FUSE
file system whose server answers nothing: who waits for that cannot even be killed. So every part of
a path is opened with O_PATH (open(2)), which asks no file system for the file; the kernel's own
word (/proc/self/fdinfo: mnt_id, and ino since Linux 5.14) says where one is before the next step.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Mounted by root alone, so nobody else decides whether they answer. Those over a network hang where
# it does: who opens a file limits how long he waits.
_TRUSTED = {
    "ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "f2fs", "zfs", "jfs", "nilfs2",
    "reiserfs", "erofs", "squashfs", "iso9660", "udf", "vfat", "exfat", "ntfs3", "tmpfs",
    "ramfs", "rootfs", "overlay", "aufs", "nfs", "nfs4", "cifs", "smb3", "ceph", "9p",
    "virtiofs", "lustre", "gpfs", "beegfs", "gfs2", "ocfs2", "afs",
}  # fmt: skip
# In a user namespace anybody mounts it (Linux 5.11), over whatever lies below: FUSE, too.
_STACKED = "overlay"


class Mount(NamedTuple):
    """A mounted file system: its device as /proc/PID/maps writes it ('fe:00'), and its type."""

    device: str
    kind: str


def opened(process: int | str, path: str) -> tuple[BinaryIO, str] | None:
    """Opens a plain file by its absolute path below the root of a process (a pid, or 'self').

    Returns it with its identity, 'device:inode' as /proc/PID/maps writes them. None where it is no
    plain file, or on a file system that is not to be trusted. Raises OSError.
    """
    trusted = _trusted(process)
    place = os.open(f"/proc/{process}/root", os.O_PATH | os.O_CLOEXEC)
    try:
        for part in path.split("/")[1:]:
            if _mount_and_inode(place)[0] not in trusted or part in ("", ".", ".."):
                return None
            above, place = place, os.open(part, _STEP, dir_fd=place)
            os.close(above)
        mount, inode = _mount_and_inode(place)
        if mount not in trusted or not stat.S_ISREG(os.fstat(place).st_mode):
            return None
        file = os.fdopen(os.open(f"/proc/self/fd/{place}", _READ), "rb")
        return file, f"{trusted[mount].device}:{inode}"
    finally:
        os.close(place)


def executable(pid: int) -> str:
    """Returns which file a process executes, as 'mount:inode'. Raises OSError or KeyError."""
    place = os.open(f"/proc/{pid}/exe", os.O_PATH | os.O_CLOEXEC)
    try:
        return ":".join(map(str, _mount_and_inode(place)))
    finally:
        os.close(place)


def _trusted(process: int | str) -> dict[int, Mount]:
    """The mounts that a file may lie on: ours, for a chroot hides its own, and the process's."""
    theirs = _mounts(process)
    if os.readlink(f"/proc/{process}/ns/user") != os.readlink("/proc/self/ns/user"):  # noqa: PTH115
        theirs = {number: one for number, one in theirs.items() if one.kind != _STACKED}
    return {n: one for n, one in {**_mounts("self"), **theirs}.items() if one.kind in _TRUSTED}


def _mounts(process: int | str) -> dict[int, Mount]:
    """By their ids, which are those of the whole machine (proc_pid_mountinfo(5))."""
    found = {}
    for line in Path(f"/proc/{process}/mountinfo").read_text(errors="replace").splitlines():
        place, _, about = line.partition(" - ")
        number, _, device, *_ = place.split()
        major, minor = map(int, device.split(":"))
        found[int(number)] = Mount(f"{major:02x}:{minor:02x}", about.split()[0])
    return found


def _mount_and_inode(descriptor: int) -> tuple[int, int]:
    text = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
    told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(told["mnt_id"]), int(told.get("ino", -1))

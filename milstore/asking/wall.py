"""A wall that needs no parser: a thread gives up writing, for itself and for every thread that it starts, for good.

Linux knows two ways in which an ordinary user's thread can do that: Landlock (since 5.13; each kind of access to files
has a bit) and a seccomp filter (a small program that the kernel runs before each system call). Both are reached through
the C library alone. What was open before stays open; reading is as free as it was.
"""

import ctypes
import errno
import os
import struct
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

NONE = "none"
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
"""Numbers of Landlock's system calls, on every processor."""
_READS = (1 << 2) | (1 << 3)
"""Landlock's rights to read files and folders: the only ones that are kept."""
_FS_RIGHTS = {3: 15, 4: 15}
"""How many rights to files a version of Landlock knows: 16 since version 5, and since version 3 that to truncate."""
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EACCES
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Numbers of the system calls that write, make, move, remove, run or connect. `openat2` hides its flags behind a pointer
# and `io_uring` what it does behind a queue, so both are refused whole.
_ALWAYS_X86 = (
    *(76, 82, 83, 84, 85, 86, 87, 88, 133),  # truncate rename mkdir rmdir creat link unlink symlink mknod
    *(90, 91, 92, 93, 94, 132, 235, 261),  # chmod fchmod chown fchown lchown utime utimes futimesat
    *(258, 259, 260, 263, 264, 265, 266, 268, 280, 316),  # mkdirat … renameat2
    *(188, 189, 190, 197, 198, 199, 59, 322, 41, 53, 101, 311),  # xattr exec socket socketpair ptrace process_vm_writev
    *(155, 161, 163, 165, 166, 304),  # pivot_root chroot acct mount umount2 open_by_handle_at
)
_ALWAYS_ARM = (
    *(45, 33, 34, 35, 36, 37, 38, 276),  # truncate mknodat mkdirat unlinkat symlinkat linkat renameat renameat2
    *(52, 53, 54, 55, 88),  # fchmod fchmodat fchownat fchown utimensat
    *(5, 6, 7, 14, 15, 16, 221, 281, 198, 199, 117, 271),  # xattr exec socket socketpair ptrace process_vm_writev
    *(39, 40, 41, 51, 89, 265),  # umount2 mount pivot_root chroot acct open_by_handle_at
)
_ALWAYS = (425, 426, 427, 428, 429, 430, 431, 432, 433, 437, 442, 452, 463, 466)
"""io_uring, the new ways to mount, openat2, mount_setattr, fchmodat2, setxattrat, removexattrat: one number everywhere."""
_PROCESSORS = {
    # Audit's name of the processor, the calls above, and (open, place of its flags) for each way to open.
    "x86_64": (0xC000003E, _ALWAYS_X86, ((2, 1), (257, 2))),
    "aarch64": (0xC00000B7, _ALWAYS_ARM, ((56, 2),)),
}


def give_up_writing() -> str:
    """Take from the calling thread, and from those that it will start, the means to change any file. No way back.

    Returns:
        Which wall stands, as `landlock 7` (with its version), `seccomp`, or `none` where the kernel has neither.
    """
    return next((name for name in (wall() for wall in (landlock, seccomp)) if name), NONE)


def standing() -> str:
    """Which wall stands here, found by raising it in a thread that then ends."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(give_up_writing()))
    thread.start()
    thread.join()
    return found[0]


def describe(name: str) -> str:
    """A wall's name as a person reads it.

    >>> describe("landlock 7")
    'behind a wall against writing: Landlock, version 7'
    """
    kind, _, version = name.partition(" ")
    if kind == "landlock":
        return f"behind a wall against writing: Landlock, version {version}"
    if kind == "seccomp":
        return "behind a wall against writing: a seccomp filter"
    return "without a second wall: this system has neither Landlock nor seccomp filters, so the check of SQL is alone"


def landlock() -> str:
    """Raise the wall by Landlock. Empty where the kernel has none, or one that cannot forbid truncating."""
    version = landlock_version()
    if version < 3:
        return ""
    rights = ((1 << _FS_RIGHTS.get(version, 16)) - 1) & ~_READS
    # With no rule beside them, what is named here is allowed nowhere: to write to files and, since version 4, TCP.
    attributes = struct.pack("=QQ", rights, 3) if version >= 4 else struct.pack("=Q", rights)
    rules = _syscall(_CREATE_RULESET, ctypes.create_string_buffer(attributes, len(attributes)), len(attributes), 0)
    if rules < 0:
        return ""
    try:
        done = _no_new_privileges() and _syscall(_RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)
    return f"landlock {version}" if done else ""


def landlock_version() -> int:
    """The version of Landlock that the kernel knows; 0 if it knows none."""
    return max(0, _syscall(_CREATE_RULESET, None, 0, 1)) if sys.platform == "linux" else 0


def seccomp() -> str:
    """Raise the wall by a seccomp filter. Empty where the kernel or the processor knows none."""
    known = _PROCESSORS.get(os.uname().machine) if sys.platform == "linux" else None
    if known is None or struct.calcsize("P") != 8:
        return ""
    lines = _filter(*known)
    program = ctypes.create_string_buffer(b"".join(lines))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(lines), ctypes.addressof(program)))
    return "seccomp" if _no_new_privileges() and _prctl(_SET_SECCOMP, _FILTER, ctypes.byref(head)) == 0 else ""


def _filter(processor: int, always: tuple[int, ...], opening: tuple[tuple[int, int], ...]) -> list[bytes]:
    """The filter's program: refuse another processor's calls, the calls above, and to open anything for writing."""
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06

    def line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    # Where the kernel puts a call's number (0), the processor (4) and the arguments (16, 24, …).
    program = [line(load, 4), line(equal, processor, 1, 0), line(answer, _DENY), line(load, 0)]
    # The calls of the 32-bit form of x86_64 bear this bit.
    program += [line(at_least, 0x40000000, 0, 1), line(answer, _DENY)]
    for number in (*always, *_ALWAYS):
        program += [line(equal, number, 0, 1), line(answer, _DENY)]
    for number, place in opening:
        program += [line(equal, number, 0, 4), line(load, 16 + 8 * place)]
        program += [line(any_bit, _WRITING_FLAGS, 0, 1), line(answer, _DENY), line(answer, _ALLOW)]
    return [*program, line(answer, _ALLOW)]


def _no_new_privileges() -> bool:
    """Both ways ask for it: what the thread starts can gain nothing by set-user-id."""
    return _prctl(_NO_NEW_PRIVS, 1, _long(0)) == 0


def _prctl(option: int, choice: int, argument: Any) -> int:
    call: Callable[..., int] = _libc().prctl
    return call(option, _long(choice), argument, _long(0), _long(0))


def _syscall(number: int, *arguments: "ctypes.Array[ctypes.c_char] | int | None") -> int:
    call: Callable[..., int] = _libc().syscall
    return call(_long(number), *(_long(each) if isinstance(each, int) else each for each in arguments))


def _long(number: int) -> ctypes.c_long:
    return ctypes.c_long(number)


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library

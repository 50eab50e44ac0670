"""A real SLURM of one node, for tests: munged, slurmctld and slurmd in a temporary folder, on ports of their own.

Needs root and Debian's packages slurm-wlm, slurmd, slurmctld, slurm-client, slurm-wlm-basic-plugins and munge. Nothing
outside the folder is touched, so several may run at once. `python -m tests.slurm_node` starts one for trying things by
hand, until Ctrl-C.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.waiting import holds_within

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue", "sinfo")
DAEMONS = ("munged", "slurmctld", "slurmd")

_CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits for as long as a credential is valid, two minutes by default, five seconds at least.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
JobRequeue=1
KillWait=5
MinJobAge=600
ReturnToService=2
# The machine may have fewer CPUs than jobs are to run side by side.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory={memory} State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES MaxTime=UNLIMITED State=UP
"""


class NoSlurmError(Exception):
    """A SLURM cannot be started here; the message says why."""


@contextlib.contextmanager
def slurm_node() -> Iterator[dict[str, str]]:
    """While entered, a SLURM of this machine runs. Gives the variables to add to the environment of its clients.

    Raises:
        NoSlurmError: it cannot be started here.
    """
    if os.geteuid() != 0:
        raise NoSlurmError("starting a SLURM needs root")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise NoSlurmError(f"SLURM is not installed: no {', '.join(missing)}")
    # In /tmp, as the path of a socket may have 108 letters only.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    try:
        variables = _start(folder)
        yield variables
    finally:
        _stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> dict[str, str]:
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    ctld_port, slurmd_port = _free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(host=host, folder=folder, memory=memory // 2, ctld_port=ctld_port, slurmd_port=slurmd_port)
    )
    _daemon(
        "munged",
        "--force",
        f"--key-file={key}",
        f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munged.pid",
        f"--log-file={folder}/munged.log",
        f"--seed-file={folder}/munge.seed",
    )
    _daemon("slurmctld", "-c", "-f", str(conf))
    _daemon("slurmd", "-c", "-f", str(conf), "-N", host)
    variables = {"SLURM_CONF": str(conf)}
    if holds_within(lambda: _node_state(variables) == "idle", seconds=20, every=0.2):
        return variables
    log = (folder / "slurmctld.log").read_text(errors="replace").splitlines()
    raise NoSlurmError(f"the node did not come up: {' | '.join(log[-3:])}")


def _daemon(*command: str) -> None:
    """Start a program that goes into the background by itself."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise NoSlurmError(f"{command[0]} does not start: {' '.join(done.stderr.split())[-300:]}")


def _node_state(variables: dict[str, str]) -> str:
    command = ["sinfo", "--noheader", "--format=%T"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables}, check=False)
    return done.stdout.strip()


def _stop(folder: Path) -> None:
    """Cancel what still runs, and stop the daemons by the process ids that they wrote."""
    if (folder / "slurmd.pid").exists():
        environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        with contextlib.suppress(subprocess.SubprocessError):
            command = ["scancel", "--quiet", "--partition=tests", "--signal=KILL", "--full"]
            subprocess.run(command, env=environment, capture_output=True, timeout=10, check=False)
    daemons = [pid for pid in (_pid(folder / f"{name}.pid") for name in DAEMONS) if pid is not None]
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 1.0)):
        for pid in daemons:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        holds_within(lambda: not any(Path(f"/proc/{pid}").exists() for pid in daemons), patience, every=0.05)


def _pid(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


if __name__ == "__main__":
    with slurm_node() as found:
        sys.stdout.write("".join(f"export {name}={value}\n" for name, value in found.items()))
        sys.stdout.flush()
        # After the daemons were started: they would inherit it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        signal.sigwait({signal.SIGINT, signal.SIGTERM})

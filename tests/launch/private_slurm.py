"""A Slurm of the test's own: munged, slurmctld and slurmd on this host, in one folder, on ports of their own."""
import getpass
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import program

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")
# Four GPUs that are only counted: their device files are plain ones, and no process is kept from anything.
CONFIG = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
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
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
KillWait=5
MinJobAge=300
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=2000 Gres=gpu:4 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=test Nodes={host} Default=YES MaxTime=30 State=UP OverSubscribe=NO PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=30 State=UP OverSubscribe=NO PriorityTier=10
"""


def missing():
    """The programs that are not installed, and why else there can be no private Slurm."""
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin"))
    absent = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "slurmd starts jobs as root only"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class PrivateSlurm:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nightreel-slurm-"))
        self._daemons = []
        self.environment = {"SLURM_CONF": f"{self.folder}/slurm.conf",
                            "PATH": os.pathsep.join((os.environ["PATH"], "/usr/sbin"))}
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        host = socket.gethostname().split(".")[0]
        ports = free_ports(2)
        (self.folder / "slurm.conf").write_text(CONFIG.format(
            host=host, folder=self.folder, user=getpass.getuser(), controller_port=ports[0], node_port=ports[1]))
        for gpu in range(4):
            (self.folder / f"gpu{gpu}").touch()
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-3]\n")
        (self.folder / "state").mkdir()
        (self.folder / "spool").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        munge = self.folder / "munge.socket"
        self._run("munged", "--foreground", "--force", f"--socket={munge}", f"--key-file={key}",
                  f"--pid-file={self.folder}/munged.pid", f"--seed-file={self.folder}/munge.seed",
                  f"--log-file={self.folder}/munged.log")
        self._need(munge.exists, "munged")
        self._run("slurmctld", "-D", "-i")
        self._need(lambda: "UP" in self.call("scontrol", "ping", check=False), "slurmctld")
        self._run("slurmd", "-D", "-N", host)
        self._need(lambda: "idle" in self.call("sinfo", "-h", "-o", "%T", check=False).split(), "slurmd")

    def _run(self, *command):
        log = open(self.folder / f"{command[0]}.out", "w")
        self._daemons.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True,
                                              env=program.without_redis(**self.environment)))
        log.close()

    def _need(self, condition, name):
        if not program.until(condition, 8):
            logs = "\n".join(file.read_text(errors="replace")[-2000:] for file in sorted(self.folder.glob("*.[lo]*[gt]")))
            raise RuntimeError(f"{name} did not come up:\n{logs}")

    def call(self, *command, check=True, cwd=None, **more):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, cwd=cwd,
                              env=program.without_redis(**{**self.environment, **more}))
        if check and done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def facts(self, job):
        """scontrol's fields of one job, or of one task of an array."""
        shown = self.call("scontrol", "-o", "show", "job", job)
        return dict(word.split("=", 1) for word in shown.splitlines()[0].split() if "=" in word)

    def wait(self, job, *states, seconds=60):
        """Until the job is in one of the states, or has ended; its fields then."""
        states = {*states, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
        end = time.monotonic() + seconds
        facts = self.facts(job)
        while facts["JobState"] not in states and time.monotonic() < end:
            time.sleep(0.1)
            facts = self.facts(job)
        return facts

    def stop(self):
        """The jobs first: a step that outlives its slurmd stays for ever."""
        if len(self._daemons) == 3:
            self.call("scancel", "--full", f"--user={getpass.getuser()}", check=False)
            program.until(lambda: not self.call("squeue", "-h", check=False), 15)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

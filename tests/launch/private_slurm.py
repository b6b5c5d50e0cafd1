"""A Slurm of the test's own: munged, slurmctld and slurmd on this host, in one folder, on ports of their own."""
import getpass
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import program

GPUS = 12
PATIENCE = 240   # seconds that only what hangs takes
KILL_WAIT = 300  # seconds that Slurm leaves a job to end by itself: one that it has to kill, hangs
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")
# CPUs and GPUs are only counted: the GPUs' device files are plain ones, and no process is kept from anything. There are
# enough for several tests at a time, and few enough GPUs that not all their jobs start at once. Whatever may be soon is
# at once (sched_*, bf_*, batch_sched_delay); whatever ends what is late is later than a busy machine is (*Timeout).
# Of the jobs in `preemptible` one in `urgent` takes the CPUs; those in `test` it leaves alone.
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
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
KillWait={kill_wait}
MinJobAge=600
MessageTimeout=60
TCPTimeout=30
BatchStartTimeout=120
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=256 RealMemory=2000 Gres=gpu:{gpus} State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=test Nodes={host} Default=YES MaxTime=30 State=UP OverSubscribe=NO PriorityTier=1 PreemptMode=OFF
PartitionName=preemptible Nodes={host} MaxTime=30 State=UP OverSubscribe=NO PriorityTier=1
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
        self._lock, self._jobs, self._looked = threading.Lock(), {}, 0.0
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
            host=host, folder=self.folder, user=getpass.getuser(), controller_port=ports[0], node_port=ports[1],
            kill_wait=KILL_WAIT, gpus=GPUS))
        for gpu in range(GPUS):
            (self.folder / f"gpu{gpu}").touch()
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]\n")
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
        program.until(lambda: condition() or self._daemons[-1].poll() is not None, PATIENCE)
        if not condition():
            logs = "\n".join(file.read_text(errors="replace")[-2000:] for file in sorted(self.folder.glob("*.[lo]*[gt]")))
            raise RuntimeError(f"{name} did not come up:\n{logs}")

    def call(self, *command, check=True, cwd=None, **more):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, cwd=cwd,
                              env=program.without_redis(**{**self.environment, **more}))
        if check and done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def facts(self, job):
        """scontrol's fields of one job, or of one task of an array, a moment ago: tests ask again and again, each in its
        thread, and one scontrol answers for all."""
        with self._lock:
            if job not in self._jobs or time.monotonic() - self._looked > 0.4:
                self._look()
            return self._jobs.get(job) or self._jobs[job.partition("_")[0]]  # a task that waits has no record of its own

    def _look(self):
        self._looked = time.monotonic()
        self._jobs = {}
        for line in self.call("scontrol", "-o", "show", "job").splitlines():
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if "JobId" in fields:
                self._jobs[fields["JobId"]] = fields
                self._jobs.setdefault(f"{fields.get('ArrayJobId')}_{fields.get('ArrayTaskId')}", fields)

    def until(self, job, condition, what):
        """Until condition(facts of the job), which it returns."""
        seen = []

        def so():
            seen[:] = [self.facts(job)]
            return condition(seen[0])
        if not program.until(so, PATIENCE):
            raise AssertionError(f"job {job}: not {what} within {PATIENCE} s: {seen[0]}")
        return seen[0]

    def wait(self, job):
        """Its fields when it has ended."""
        return self.until(job, lambda facts: facts["JobState"] in ENDED, "ended")

    def stop(self):
        """The jobs first: a step that outlives its slurmd stays for ever."""
        if len(self._daemons) == 3:
            self.call("scancel", "--full", f"--user={getpass.getuser()}", check=False)
            program.until(lambda: not self.call("squeue", "-h", check=False), 60)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

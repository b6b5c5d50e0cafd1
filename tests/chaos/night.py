"""What a chaos run is made of: its folder, its Redis server, the program under mpirun, and who is who in /proc."""
import hashlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SOURCE = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
PREFIX = "nightreel:{default}:"
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]
LEASE_S = 3
GROUP_SILENCE_S = 10  # that ranks of a group bear of each other, with such a lease
FRAMES, SIZE = 5, 16


def now_ms():
    return time.time_ns() // 1_000_000


def script_hashes(changed=lambda text: text):
    """{name: SHA1} of the queue's scripts, as the build puts them together; `changed` is what a planted bug makes of one."""
    folder = SOURCE / "src/queue/lua"
    common = (folder / "common.lua").read_text()
    return {file.stem: hashlib.sha1(changed(common + "\n" + file.read_text()).encode()).hexdigest()
            for file in sorted(folder.glob("*.lua")) if file.stem != "common"}


def connect(socket, timeout=0.3):
    """Without redis-py's own retries: who injects faults must not wait for their end."""
    return redis.Redis(unix_socket_path=socket, decode_responses=True, socket_timeout=timeout,
                       retry=Retry(NoBackoff(), 0))


class Server:
    """A redis-server of the run's own, on a Unix socket; what it has acknowledged is on disk."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = f"{folder}/redis.sock"
        self.url = f"unix://{self.socket}"
        self.client = connect(self.socket)
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", str(self.folder), "--save", "",
             "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"],
            stdout=subprocess.DEVNULL, start_new_session=True)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def wait(self, seconds=20):
        until = time.monotonic() + seconds
        while True:
            try:
                return self.client.ping()
            except redis.RedisError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)


class PrivateServer:
    """The one that a run keeps in OUT, as far as OUT/queue/address tells; away whenever that is missing."""

    url = None

    def __init__(self, out):
        self.queue = out / "queue"

    def address(self):
        """Throws OSError or ValueError where there is none."""
        said = json.loads((self.queue / "address").read_text())
        if "port" not in said:  # it rests, or is being started
            raise ValueError("no server")
        return said

    @property
    def client(self):
        password = (self.queue / "owner").read_text().strip()  # the one in `address` is of a user without admin rights
        return redis.Redis(host="127.0.0.1", port=self.address()["port"], username="owner", password=password,
                           decode_responses=True, socket_timeout=0.5, retry=Retry(NoBackoff(), 0))

    def pid(self):
        """Of the server, if it lives."""
        try:
            pid = self.address()["server_pid"]
            return pid if "redis-server" in pathlib.Path(f"/proc/{pid}/cmdline").read_text() else None
        except (OSError, ValueError, KeyError):
            return None

    def wait(self):
        """Nothing: the next run starts it."""

    def kill(self):
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGKILL)


def status_of(pid):
    """(parent, state) of a process; (0, 'Z') where there is none."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[1]), fields[0]
    except (OSError, ValueError, IndexError):
        return 0, "Z"


def alive(pid):
    return status_of(pid)[1] != "Z"


def environment_of(pid):
    try:
        entries = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(entry.decode(errors="replace").split("=", 1) for entry in entries if b"=" in entry)


class LogPipe:
    """Keeps in a file what comes through a pipe, until it is cut: as tee or a pager that dies."""

    def __init__(self, file):
        self.reader, self.writer = os.pipe()
        self.file, self.over = file, False
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with open(self.file, "ab") as kept:
            while not self.over:
                if select.select([self.reader], [], [], 0.05)[0]:
                    said = os.read(self.reader, 65536)
                    self.over = self.over or not said
                    kept.write(said)
        os.close(self.reader)

    def cut(self):
        self.over = True


class Night:
    """One OUT, one Redis, one list of jobs, and the command that is started again and again."""

    def __init__(self, folder, build, renderer, ranks, jobs, ranks_per_video=1, private=False, piped=False):
        self.folder = pathlib.Path(folder).resolve()
        self.out = self.folder / "out"
        self.traps = self.folder / "traps"
        self.ranks, self.renderer, self.ranks_per_video = ranks, renderer, ranks_per_video
        for made in (self.out / "videos", self.traps, self.folder / "bin", self.folder / "said"):
            made.mkdir(parents=True, exist_ok=True)
        build = pathlib.Path(build).resolve()
        self.points = build / "lib/libchaos_points.so"
        self.install(build / "bin")
        self.jobs_file = self.folder / "jobs.jsonl"
        self.list_jobs(jobs)
        self.private, self.piped, self.pipe = private, piped, None
        self.server = PrivateServer(self.out) if private else Server(self.folder)
        self.server.wait()
        self.mark = f"chaos-{os.getpid()}-{self.folder.name}"
        self.process, self.started, self.codes = None, 0.0, []
        self.planted = None  # a bug (planted.py), in a build that has them

    def install(self, binaries):
        """The program in the night's own folder, with the stub beside it or the real engine."""
        sources = {"nightreel": binaries / "nightreel", "nightreel-engine": binaries / "nightreel-engine",
                   "nightreel-hdf5": binaries / "nightreel-hdf5"}
        if self.renderer == "stub":
            sources = {"nightreel": binaries / "nightreel", "nightreel-engine": HERE / "stub_engine.py",
                       "stub_group.py": HERE / "stub_group.py"}
        for name, source in sources.items():
            try:
                os.link(source, self.folder / "bin" / name)
            except OSError:  # another file system
                shutil.copy2(source, self.folder / "bin" / name)
        clip = self.folder / "clip.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc=size={SIZE}x{SIZE}:rate=16",
                        "-frames:v", str(FRAMES), "-pix_fmt", "yuv420p", "-c:v", "libx264", str(clip)], check=True)

    def list_jobs(self, jobs):
        """What the next run is given."""
        self.jobs_file.write_text("".join(json.dumps(job) + "\n" for job in jobs))

    def group_of(self, rank):
        """The ranks that render together with this one, as `run` puts them together on one host."""
        first = rank - rank % self.ranks_per_video
        together = first + self.ranks_per_video <= self.ranks
        return set(range(first, first + self.ranks_per_video)) if together else {rank}

    def command(self, ranks=None, out=None):
        together = self.ranks_per_video if ranks is None else 1
        shared = [] if self.private or out else ["--redis", self.server.url]
        launcher = [] if self.ranks == 1 else [*MPIRUN, "-np", str(ranks or self.ranks)]
        return [*launcher, str(self.folder / "bin/nightreel"), "run", str(self.jobs_file), "--model",
                str(SOURCE / "models/shapes"), "--out", str(out or self.out), *shared, "--lease", str(LEASE_S),
                "--max-attempts", "1000", "--threads", "1", "--checkpoint-every", "2", "--ranks-per-video", str(together)]

    def environment(self, faults):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "NIGHTREEL_"))}
        kept |= {"NIGHTREEL_RENDERER_ENV": "CHAOS_*", "CHAOS_MARK": self.mark, "CHAOS_CLIP": str(self.folder / "clip.mp4"), "OMP_NUM_THREADS": "1"}
        kept |= {"NIGHTREEL_PLANTED": self.planted.name} if self.planted else {}
        if faults:
            changed = self.planted.in_script if self.planted else lambda text: text
            scripts = ",".join(f"{sha}={name}" for name, sha in script_hashes(changed).items())
            kept |= {"LD_PRELOAD": str(self.points), "CHAOS_OUT": str(self.out), "CHAOS_TRAPS": str(self.traps),
                     "CHAOS_SCRIPTS": scripts}
        return kept

    def start(self, faults=True):
        log = self.folder / f"said/{len(self.codes):04}.log"
        self.pipe = LogPipe(log) if self.piped else None
        with open(log, "ab") as file:
            said = self.pipe.writer if self.pipe else file
            self.process = subprocess.Popen(self.command(), stdout=said, stderr=said, env=self.environment(faults),
                                            start_new_session=True)
        if self.pipe:
            os.close(self.pipe.writer)
        self.started = time.monotonic()

    def cut_pipe(self):
        """Ends the reader of the run's log; whether there was one."""
        pipe, self.pipe = self.pipe, None
        if pipe is None or self.process is None:
            return False
        pipe.cut()
        return True

    def ended(self):
        """The code of a run that has ended since the last call, else None."""
        if self.process is None or self.process.poll() is None:
            return None
        self.codes.append(self.process.returncode)
        self.process = None
        return self.codes[-1]

    def said(self, index=-1):
        number = len(self.codes) + index if index < 0 else index
        return (self.folder / f"said/{number:04}.log").read_text(errors="replace")

    def processes(self):
        """Every process of this night that lives: {pid: (rank or None, 'rank' | 'renderer' | 'other')}."""
        found = {}
        needle = f"CHAOS_MARK={self.mark}".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                block = pathlib.Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if needle not in block or not alive(int(entry)):
                continue
            rank = re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)", block)
            if b"NIGHTREEL_PARENT_PID=" in block:
                parent = environment_of(status_of(int(entry))[0]).get("OMPI_COMM_WORLD_RANK")
                found[int(entry)] = (int(parent) if parent else None, "renderer")
            elif rank:
                found[int(entry)] = (int(rank[1]), "rank")
            else:
                found[int(entry)] = (None, "other")
        return found

    def end_all(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        if self.process is not None:
            self.process.wait()
        self.server.kill()


class Events(threading.Thread):
    """Follows the queue's event stream, over restarts of the server; nothing is trimmed here."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.client = connect(server.socket, 5)
        self.events, self.last, self.over = [], "0", False
        self.done, self.others = set(), 0  # jobs; and what else gets one on

    def run(self):
        while not self.over:
            try:
                self.read(200)
            except redis.RedisError:
                time.sleep(0.05)

    def read(self, block):
        for _, entries in self.client.xread({PREFIX + "events": self.last}, block=block, count=1000) or []:
            for stamp, event in entries:
                self.last = stamp
                self.events.append({**event, "ms": int(stamp.split("-")[0])})
                self.others += event["event"] in ("delayed", "submitted")
                if event["event"] == "done":
                    self.done.add(event["id"])

    def finish(self):
        """All events up to now."""
        self.over = True
        self.join()
        before = -1
        while before != len(self.events):
            before = len(self.events)
            self.read(1)
        return self.events


class Watcher(threading.Thread):
    """Looks at every video the moment it has its name."""

    def __init__(self, out):
        super().__init__(daemon=True)
        self.videos, self.seen, self.over = out / "videos", {}, False

    def run(self):
        while not self.over:
            self.look()
            time.sleep(0.02)

    def look(self):
        for entry in os.scandir(self.videos):
            name = entry.name
            if name.endswith(".mp4") and not name.startswith(".") and name[:-4] not in self.seen:
                try:
                    self.seen[name[:-4]] = self.picture(name[:-4])
                except FileNotFoundError:
                    pass  # somebody has removed it meanwhile

    def picture(self, job):
        path = self.videos / f"{job}.mp4"
        about = path.stat()
        sidecar = self.videos / f"{job}.json"
        said = json.loads(sidecar.read_text()) if sidecar.exists() else {}
        return {"inode": about.st_ino, "published_ms": about.st_ctime_ns // 1_000_000,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "sidecar_sha256": said.get("sha256"),
                "attempt": said.get("attempt"), "rank": said.get("rank")}

    def finish(self):
        self.over = True
        self.join()
        self.look()
        return self.seen

"""A renderer as a rank sees it: a process with JSON lines on its pipes."""
import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time

import program
from program import BUILD, SHAPES

SETTINGS = {"prompt": "a red circle moves right on a black background", "negative_prompt": "blurred", "height": 16,
            "width": 16, "num_frames": 5, "fps": 8.0, "num_inference_steps": 4, "guidance_scale": 3.0,
            "guidance_scale_2": None, "flow_shift": 3.0, "boundary_ratio": 0, "sampler": "unipc", "sigmas": [],
            "seed": 1, "image": "", "last_image": "", "loras": []}


class Renderer:
    """Started on models/shapes unless `flags` say otherwise; every event that it writes is kept."""

    def __init__(self, *flags, env=None):
        self._process = subprocess.Popen(
            [str(BUILD / "bin/nightreel-engine"), "render", "--device", "cpu", *(flags or ("--model", str(SHAPES)))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=program.without_redis(NIGHTREEL_PARENT_PID=str(os.getpid()), **(env or {})))
        self._events = queue.Queue()
        self.seen = []
        self.log = ""  # once it has ended
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._events.put(json.loads(line))  # what is no JSON ends this thread, and the test with it

    def send(self, kind, **fields):
        self.write(json.dumps({"v": 1, "type": kind, **fields}))

    def write(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def render(self, job, token, steps=4, changed=None, **files):
        settings = {**SETTINGS, "num_inference_steps": steps, "prompt": SETTINGS["prompt"] + job, **(changed or {})}
        wanted = {"video": "", "sheet": "", "archive": "", "checkpoint": "", "archive_content": "latents",
                  "checkpoint_every": 0, **{name: str(value) for name, value in files.items()}}
        wanted["checkpoint_every"] = int(wanted["checkpoint_every"])
        self.send("render", job=job, token=token, settings=settings, spec={"prompt": settings["prompt"]}, **wanted)

    def wait_for(self, kind, /, seconds=180, **fields):
        """The first event, old or new, of this type and with these fields."""
        end = time.monotonic() + seconds
        position = 0
        while True:
            while position < len(self.seen):
                event = self.seen[position]
                position += 1
                if event["type"] == kind and all(event.get(name) == value for name, value in fields.items()):
                    return event
            try:
                self.seen.append(self._events.get(timeout=max(0.01, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"no {kind} {fields} within {seconds} s; seen: {self.seen[-5:]}") from None

    def order(self, *wanted):
        """Positions of the first events that have these fields."""
        return [next(i for i, event in enumerate(self.seen) if fields.items() <= event.items()) for fields in wanted]

    def end(self, close=True, seconds=60):
        if close and not self._process.stdin.closed:
            self._process.stdin.close()
        code = self._process.wait(seconds)
        self._reader.join(seconds)
        self.log = self._process.stderr.read()
        self._process.stderr.close()
        self._process.stdout.close()
        return code

    @contextlib.contextmanager
    def all_at_once(self):
        """What is sent meanwhile waits in its pipe: for the renderer it comes at one time, however slow the test is."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def signal(self, number):
        os.kill(self._process.pid, number)

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
            self.end()

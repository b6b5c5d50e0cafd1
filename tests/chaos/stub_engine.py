#!/usr/bin/env python3
"""A stub of nightreel-engine for chaos runs: it speaks the renderer's protocol, and its whole work is a chain of hashes.

Each step of denoising hashes the state once more, from the job's settings on; a saved state is gone on from. So the
bytes of a video tell whether every step was done exactly once, whatever was killed in between. The video itself is a
real one ($CHAOS_CLIP) with the last state in a box that players skip. Put beside a copy of nightreel, ranks start it.
In a group that stays all members take each step together (stub_group.py).
"""
import hashlib
import json
import os
import queue
import secrets
import struct
import sys
import threading
import time

import stub_group

STEP_S = float(os.environ.get("CHAOS_STEP_S", "0.02"))
DIGEST = "5" * 32


def first_state(job, settings):
    return hashlib.sha256(f"{job} {settings['seed']} {settings['prompt']}".encode()).hexdigest()


def next_state(state, step):
    return hashlib.sha256(f"{state} {step}".encode()).hexdigest()


def last_state(job, settings):
    state = first_state(job, settings)
    for step in range(1, settings["num_inference_steps"] + 1):
        state = next_state(state, step)
    return state


def video_of(clip, state):
    return clip + struct.pack(">I", 8 + len(state)) + b"free" + state.encode()


def archive_of(state):
    return b"latents " + state.encode()


def write_whole(path, content):
    """As the engine does: a temporary name beside it, fsync, rename."""
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


class Interrupted(Exception):
    pass


class Stub:
    def __init__(self):
        self.lock = threading.Lock()
        self.to_render, self.to_write = queue.Queue(), queue.Queue()
        self.cancelled, self.to_save = set(), set()
        self.group, self.meetings = stub_group.Group(), 0
        with open(os.environ["CHAOS_CLIP"], "rb") as file:
            self.clip = file.read()

    def say(self, event, **fields):
        with self.lock:
            sys.stdout.write(json.dumps({"v": 1, "type": event, **fields}) + "\n")
            sys.stdout.flush()

    def about(self, event, request, **fields):
        self.say(event, job=request["job"], token=request["token"], **fields)

    def guarded(self, request, work):
        try:
            work(request)
        except Interrupted:
            self.about("failed", request, kind="interrupted", message="stopped")
        except OSError as error:
            self.about("failed", request, kind="storage", message=str(error))

    def resume(self, request):
        try:
            with open(request["checkpoint"], encoding="utf-8") as file:
                saved = json.load(file)
            if saved["spec"] == request["spec"]:
                return saved["step"], saved["state"]
        except (OSError, ValueError, KeyError):
            pass
        return 0, first_state(request["job"], request["settings"])

    def save(self, request, step, state):
        content = json.dumps({"spec": request["spec"], "step": step, "state": state})
        write_whole(request["checkpoint"], content.encode())
        self.about("checkpoint", request, step=step)

    def render(self, request):
        try:
            self.denoise(request)
        except (Interrupted, OSError):
            self.group.tell(over=True)
            raise

    def denoise(self, request):
        steps = request["settings"]["num_inference_steps"]
        self.about("progress", request, stage="text", step=0, steps=0)
        if request["token"] in self.cancelled:
            raise Interrupted
        first, state = self.resume(request)
        self.group.tell(token=request["token"], state=state)
        request["resumed"] = first
        self.about("progress", request, stage="denoise", step=first, steps=steps)
        for step in range(first + 1, steps + 1):
            time.sleep(STEP_S)
            if request["token"] in self.cancelled:
                raise Interrupted
            state = next_state(state, step)
            self.group.take(step, state)
            self.about("progress", request, stage="denoise", step=step, steps=steps)
            stopping = request["token"] in self.to_save
            if stopping or (step % 2 == 0 and step < steps):
                self.save(request, step, state)
            if stopping:
                raise Interrupted
        self.group.tell(over=True)
        self.about("progress", request, stage="decode", step=0, steps=0)
        self.to_write.put((request, state))

    def write(self, request, state):
        time.sleep(STEP_S)
        write_whole(request["video"], video_of(self.clip, state))
        write_whole(request["sheet"], b"sheet of " + request["job"].encode())
        if request["archive"]:
            write_whole(request["archive"], archive_of(state))
        self.about("progress", request, stage="encode", step=0, steps=0)
        settings = request["settings"]
        self.about("done", request, frames=settings["num_frames"], height=settings["height"], width=settings["width"],
                   resumed_step=request["resumed"], timings={"denoise": STEP_S})

    def render_all(self):
        try:
            while True:
                self.render_next()
        except stub_group.Lost as lost:
            self.say("failed", job="", token=0, kind="comm", message=str(lost))
            os._exit(70)

    def render_next(self):
        request = self.to_render.get()
        if request["type"] == "group":
            self.group.meet(request)
            self.say("rendezvous", address=request["address"], joined=True)
        elif self.group.follows:
            self.follow(request)
        else:
            self.guarded(request, self.render)

    def follow(self, request):
        """The first member says what is rendered, and how it ended; what it has let go of before is passed over."""
        if self.group.joins_in(request["token"], next_state):
            self.about("done", request, frames=0, height=0, width=0, resumed_step=0, timings={})

    def to_group(self, request):
        if request.get("stay") and request["address"]:
            self.to_render.put(request)
            return
        self.meetings += 1
        address = request["address"] or f"chaos-{os.getpid()}-{self.meetings}"
        if request.get("stay"):
            self.group.listen(address)
        self.say("rendezvous", address=address, joined=bool(request["address"]))

    def write_all(self):
        while True:
            request, state = self.to_write.get()
            self.guarded(request, lambda request, state=state: self.write(request, state))

    def beat(self):
        while True:
            time.sleep(0.5)
            self.say("heartbeat")

    def run(self):
        for work in (self.beat, self.render_all, self.write_all):
            threading.Thread(target=work, daemon=True).start()
        self.say("ready", model_digest=DIGEST, model={}, versions={}, device="cpu", device_uuid="", memory_bytes=0,
                 cpu_capability="DEFAULT", threads=1, load_s=0.0)
        for line in sys.stdin:
            request = json.loads(line)
            kind = request["type"]
            if kind == "render":
                self.to_render.put(request)
            elif kind == "cancel":
                self.cancelled.add(request["token"])
            elif kind == "checkpoint_and_stop":
                self.to_save.add(request["token"])
            elif kind == "group":
                self.to_group(request)
            elif kind == "shutdown":
                break


def end_with(failure):
    """A thread that ended alone would leave heartbeats of a renderer that works no more."""
    sys.__excepthook__(failure.exc_type, failure.exc_value, failure.exc_traceback)
    sys.stderr.flush()
    os._exit(70)


threading.excepthook = end_with

if __name__ == "__main__":
    Stub().run()
    os._exit(0)  # its threads still run

#!/usr/bin/env python3
"""A stand-in for nightreel-engine where ranks are given GPUs that do not exist: it loads and meets the others as the
renderer does, says which device it was given, and dies of the first video. Beside a copy of nightreel ranks start it.

NIGHTREEL_STAND_IN names devices whose engine has a fault, as in "GPU-a3:deaf,GPU-a0:wrong":
  deaf       answers no probe
  wrong      gets wrong bytes from the others
  unmet      its renderers do not meet others, for loading or later, and say so
  lost       dies when it is to meet others
  dies:N     is killed while it loads, N times
  bad        its model cannot be loaded
Its stderr has a line for each start, and one for each time that it is asked to meet others.
"""
import json
import os
import signal
import sys


def say(**event):
    print(json.dumps({"v": 1, **event}), flush=True)


def exchanged(transfer, correct):
    return {"name": transfer["name"], "verb": transfer["verb"], "bytes": 2 * transfer["elements"], "seconds": 0.001,
            "correct": correct}


def answer_probe(request, backend, fault):
    if fault == "deaf":
        return
    what = request.get("what", "versions")
    if what == "group" and fault == "unmet":
        return say(type="failed", job="", token=0, kind="comm", message="no way to the others")
    if what == "group" and request["group"]["backend"] != backend:
        say(type="failed", job="", token=0, kind="comm", message=f"{request['group']['backend']} was asked for")
        return
    facts = {"versions": VERSIONS, "model": {"digest": "0" * 32, "seconds": 0.1}, "group": {"sum_correct": True}}[what]
    transfers = [exchanged(one, fault != "wrong") for one in request["transfers"]] if what == "group" else []
    say(type="probed", facts=facts, transfers=transfers)


def to_meet(request):
    """Answers a request to meet others, or makes a rendezvous for it."""
    print("asked to meet", file=sys.stderr, flush=True)
    if fault == "lost":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "unmet" or request["backend"] != backend:
        why = "no way to the others" if fault == "unmet" else f"{request['backend']} was asked for on {device}"
        return say(type="failed", job="", token=0, kind="comm", message=why)
    return say(type="rendezvous", address=request["address"] or "stand-in", joined=bool(request["address"]))


def starts():
    """How often an engine of this device has been started, this time too: its log goes on from one to the next."""
    with open("/proc/self/fd/2", encoding="utf-8") as log:
        return log.read().count("started\n")


VERSIONS = {"cuda": "13.0"}
device = sys.argv[sys.argv.index("--device") + 1]
backend = "store" if device == "cpu" else "nccl"
fault, _, times = dict(one.split(":", 1) for one in os.environ.get("NIGHTREEL_STAND_IN", "").split(",") if one).get(
    device.removeprefix("cuda:"), "").partition(":")
print("started", file=sys.stderr, flush=True)
while "--load-group" in sys.argv:  # the ranks tell where to load together
    request = json.loads(sys.stdin.readline() or '{"type": "shutdown"}')
    if request["type"] == "shutdown":
        sys.exit()
    to_meet(request)
    if fault == "unmet":
        sys.exit(3)
    if request["address"]:
        break
if fault == "dies" and starts() <= int(times):
    os.kill(os.getpid(), signal.SIGKILL)
if fault == "bad":
    say(type="failed", job="", token=0, kind="model", message="the model is torn")
    sys.exit(3)
say(type="ready", model_digest="0" * 32, model={}, versions=VERSIONS, device=device,
    device_uuid=device.removeprefix("cuda:"), memory_bytes=24 << 30, cpu_capability="DEFAULT", threads=1, load_s=0.0)
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "probe":
        answer_probe(request, backend, fault)
    if request["type"] == "group":
        to_meet(request)
    if request["type"] == "shutdown":
        break
    if request["type"] == "render":
        sys.exit("out of imagination")

#!/usr/bin/env python3
"""A stand-in for nightreel-engine where ranks are given GPUs that do not exist: it loads and meets the others as the
renderer does, says which device it was given, and dies of the first video. Beside a copy of nightreel ranks start it.

NIGHTREEL_STAND_IN names devices whose engine has a fault, as in "GPU-a3:deaf,GPU-a0:wrong": one answers no probe, the
other gets wrong bytes.
"""
import json
import os
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
    if what == "group" and request["group"]["backend"] != backend:
        say(type="failed", job="", token=0, kind="comm", message=f"{request['group']['backend']} was asked for")
        return
    facts = {"versions": VERSIONS, "model": {"digest": "0" * 32, "seconds": 0.1}, "group": {"sum_correct": True}}[what]
    transfers = [exchanged(one, fault != "wrong") for one in request["transfers"]] if what == "group" else []
    say(type="probed", facts=facts, transfers=transfers)


VERSIONS = {"cuda": "13.0"}
device = sys.argv[sys.argv.index("--device") + 1]
backend = "store" if device == "cpu" else "nccl"
fault = dict(one.split(":") for one in os.environ.get("NIGHTREEL_STAND_IN", "").split(",") if one).get(
    device.removeprefix("cuda:"), "")
while "--load-group" in sys.argv:  # the ranks tell where to load together
    request = json.loads(sys.stdin.readline() or '{"type": "shutdown"}')
    if request["type"] == "shutdown":
        sys.exit()
    say(type="rendezvous", address=request["address"] or "stand-in", joined=bool(request["address"]))
    if request["address"]:
        break
say(type="ready", model_digest="0" * 32, model={}, versions=VERSIONS, device=device,
    device_uuid=device.removeprefix("cuda:"), memory_bytes=24 << 30, cpu_capability="DEFAULT", threads=1, load_s=0.0)
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "probe":
        answer_probe(request, backend, fault)
    if request["type"] == "group":
        joined = bool(request["address"])
        if request["backend"] == backend:
            say(type="rendezvous", address=request["address"] or "stand-in", joined=joined)
        else:
            say(type="failed", job="", token=0, kind="comm", message=f"{request['backend']} was asked for on {device}")
    if request["type"] == "shutdown":
        break
    if request["type"] == "render":
        sys.exit("out of imagination")

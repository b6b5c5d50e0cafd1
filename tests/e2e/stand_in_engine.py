#!/usr/bin/env python3
"""A stand-in for nightreel-engine where ranks are given GPUs that do not exist: it loads and meets the others as the
renderer does, says which device it was given, and dies of the first video. Beside a copy of nightreel ranks start it.
"""
import json
import sys


def say(**event):
    print(json.dumps({"v": 1, **event}), flush=True)


device = sys.argv[sys.argv.index("--device") + 1]
say(type="ready", model_digest="0" * 32, model={}, versions={}, device=device, device_uuid=device.removeprefix("cuda:"),
    memory_bytes=24 << 30, cpu_capability="DEFAULT", threads=1, load_s=0.0)
for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "group":
        backend = "store" if device == "cpu" else "nccl"
        joined = bool(request["address"])
        if request["backend"] == backend:
            say(type="rendezvous", address=request["address"] or "stand-in", joined=joined)
        else:
            say(type="failed", job="", token=0, kind="comm", message=f"{request['backend']} was asked for on {device}")
    if request["type"] == "shutdown":
        break
    if request["type"] == "render":
        sys.exit("out of imagination")

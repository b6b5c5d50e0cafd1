"""How many ranks does one Redis bear? Simulated ranks share pooled connections, claim jobs and complete them.

    .venv/bin/python tests/chaos/load.py [--ranks 10000] [--jobs 20000] [--connections 32]

Prints pairs of claim and complete a second and the milliseconds that each took (Python clients on this machine, which
also runs the server: a lower bound), and from the server's own statistics the microseconds of each script: what a rank
costs Redis is that times how often it calls. Every job must be claimed exactly once and be done at the end, and what
`counts` costs must not depend on how many jobs run.
"""
import argparse
import collections
import concurrent.futures
import pathlib
import sys
import tempfile
import threading
import time

import redis

from night import PREFIX, SOURCE, Server

MODEL = "5" * 32


def script_texts():
    folder = SOURCE / "src/queue/lua"
    common = (folder / "common.lua").read_text()
    return {file.stem: common + "\n" + file.read_text() for file in folder.glob("*.lua") if file.stem != "common"}


class Queue:
    """The scripts as the program calls them."""

    def __init__(self, socket, connections):
        pool = redis.BlockingConnectionPool(
            max_connections=connections, connection_class=redis.UnixDomainSocketConnection, path=socket,
            decode_responses=True, socket_timeout=60)
        self.client = redis.Redis(connection_pool=pool)
        self.hashes = {name: self.client.script_load(text) for name, text in script_texts().items()}

    def call(self, script, *arguments):
        return self.client.evalsha(self.hashes[script], 1, PREFIX, *arguments)

    def submit(self, first, count):
        flat = [field for number in range(first, first + count)
                for field in (f"job-{number:06}", f"identity-{number}", f"hash-{number}", "{}", 0, 0, "")]
        return self.call("submit", "add", 0, "/out", MODEL, *flat)

    def claim(self, rank, nonce):
        host = f"host-{rank // 8}"
        return self.call("claim", f"worker-{rank}", nonce, 45000, 3, MODEL, "/out", "run", host, rank, 1, "", 0)

    def cost(self, calls, work):
        """Microseconds of the server's own time a call."""
        self.client.config_resetstat()
        for index in range(calls):
            work(index)
        return self.client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]


def drain(queue, options):
    """Every rank in turn claims a job and completes it, until there is none: milliseconds of each pair, and the jobs."""
    turns, lock, took, seen = iter(range(10 * options.jobs)), threading.Lock(), [], collections.Counter()

    def worker():
        while True:
            with lock:
                turn = next(turns)
            began = time.perf_counter()
            claimed = queue.claim(turn % options.ranks, f"nonce-{turn}")
            if claimed[0] != "JOB":
                return
            job, token = claimed[1], claimed[2]
            if queue.call("complete", job, token, f"videos/{job}.mp4", "0" * 64, 1000, "") != "OK":
                raise SystemExit(f"{job}: completed by nobody")
            took.append(1000 * (time.perf_counter() - began))
            seen[job] += 1

    with concurrent.futures.ThreadPoolExecutor(options.connections) as pool:
        for future in [pool.submit(worker) for _ in range(options.connections)]:
            future.result()
    return sorted(took), seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, default=10000)
    parser.add_argument("--jobs", type=int, default=20000)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    folder = tempfile.TemporaryDirectory(prefix="nightreel-load-")
    server = Server(pathlib.Path(folder.name))
    server.wait()
    try:
        queue = Queue(server.socket, options.connections)
        server.client.config_set("appendfsync", "everysec")
        for first in range(0, options.jobs, 1000):
            queue.submit(first, 1000)
        began = time.perf_counter()
        took, seen = drain(queue, options)
        seconds = time.perf_counter() - began
        done = queue.client.zcard(PREFIX + "done")
        print(f"{len(took)} pairs by {options.ranks} ranks over {options.connections} connections: "
              f"{len(took) / seconds:.0f} pairs/s, median {took[len(took) // 2]:.2f} ms, p99 "
              f"{took[len(took) * 99 // 100]:.2f} ms; done {done}, claimed twice {sum(n > 1 for n in seen.values())}")
        print(f"claim of an empty queue: {queue.cost(2000, lambda i: queue.claim(i, f'empty-{i}')):.1f} us")
        for first in range(options.jobs, options.jobs + options.ranks, 1000):
            queue.submit(first, 1000)
        held = []
        print(f"claim: {queue.cost(options.ranks, lambda i: held.append(queue.claim(i, f'held-{i}'))):.1f} us")
        renew = queue.cost(options.ranks,
                           lambda i: queue.call("renew", held[i][1], held[i][2], 45000, "denoise", 1, 50, ""))
        print(f"renew: {renew:.1f} us")
        counts = queue.cost(1000, lambda _: queue.call("counts", "run"))
        print(f"counts while {options.ranks} jobs run: {counts:.1f} us")
        print(f"claim of an empty queue while they run: "
              f"{queue.cost(2000, lambda i: queue.claim(i, f'late-{i}')):.1f} us")
        return 0 if done == options.jobs == len(seen) and counts < 10 * renew else 1
    finally:
        server.kill()
        folder.cleanup()


if __name__ == "__main__":
    sys.exit(main())

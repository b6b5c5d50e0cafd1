"""What must be true after a chaos run, whatever was done to it. Each check returns the violations that it has found."""
import concurrent.futures
import hashlib
import json
import subprocess

import h5py
import numpy

from night import FRAMES, LEASE_S, PREFIX, SIZE

SLACK_MS = 300  # between what the server stamps and what the injector notes
# A rank that publishes claims the next job before it looks at its renderer again: one that has died meanwhile costs that
# job nothing, it goes back at once.
RELEASED_SLACK_MS = 3000


def attempts_of(events):
    """{job: [{"attempt", "rank", "from", "to", "end"}]}: each claim, and the event that ended it."""
    jobs = {}
    for event in events:
        claims = jobs.setdefault(event["id"], [])
        if event["event"] == "running":
            claims.append({"attempt": int(event["attempt"]), "rank": int(event["rank"]), "from": event["ms"],
                           "to": None, "end": None})
        elif event["event"] in ("done", "failed", "cancelled", "delayed", "lease_lost", "released") and claims:
            claims[-1].update(to=event["ms"], end=event["event"])
    return jobs


def failed_since(events, began):
    """Jobs that were claimed after `began` and failed an attempt."""
    claimed, found = set(), []
    for event in events:
        if event["event"] == "running" and event["ms"] >= began:
            claimed.add(event["id"])
        if event["event"] in ("delayed", "failed") and event["id"] in claimed:
            found.append(f"failed unhit: job {event['id']}: {event.get('error')}")
    return found


def all_terminal(server, ids):
    found = []
    for job in sorted(ids):
        state = server.client.hget(f"{PREFIX}job:{job}", "state")
        if state != "done":
            found.append(f"lost: job {job} is {state or 'gone'}: {server.client.hget(f'{PREFIX}job:{job}', 'error')}")
    for left in ("pend", "delay", "run"):
        if server.client.zcard(PREFIX + left):
            found.append(f"lost: {server.client.zcard(PREFIX + left)} jobs are still in {left}")
    return found


# What hits a renderer alone, or a file, ends an attempt by word of its rank, which goes on renewing what it holds.
NEVER_COSTS_A_LEASE = ("renderer_kill", "renderer_stop", "renderer_killed_at", "storage_error")


def hits(claim, records):
    before = RELEASED_SLACK_MS if claim["end"] == "released" else SLACK_MS
    return [index for index, record in enumerate(records)
            if (record["ranks"] == "all" or claim["rank"] in record["ranks"])
            and not (claim["end"] == "lease_lost" and record.get("kind") in NEVER_COSTS_A_LEASE)
            and record["ms"] - SLACK_MS <= claim["to"] and record["until_ms"] + before >= claim["from"]]


AWAY = ("redis_kill", "redis_stop", "client_pause")


def with_long_outages(records):
    """And one of all ranks for outages of Redis that follow each other within a lease: short ones cost none by
    themselves, but a claim that waited for its reply behind one may not live through the next."""
    chains = []
    for record in sorted((one for one in records if one.get("kind") in AWAY), key=lambda one: one["ms"]):
        if chains and record["ms"] - chains[-1][-1]["until_ms"] < 1000 * LEASE_S:
            chains[-1].append(record)
        else:
            chains.append([record])
    return list(records) + [{"kind": "outages", "ranks": "all", "ms": chain[0]["ms"],
                             "until_ms": max(one["until_ms"] for one in chain)} for chain in chains if len(chain) > 1]


def run_again_only_when_hit(attempts, records):
    """Each claim that did not end as a video has a fault of its own that hit its rank while it ran.

    What hits every rank may cost a job a claim on each: one that is told to stop gives it back, the next, told later, has
    claimed it meanwhile.
    """
    found = []
    records = with_long_outages(records)
    for job, claims in attempts.items():
        used = set()
        for claim in claims:
            if claim["end"] == "done" or claim["to"] is None:
                continue
            free = [(index, claim["rank"]) for index in hits(claim, records) if (index, claim["rank"]) not in used]
            if free:
                used.add(free[0])
            else:
                found.append(f"run again unhit: job {job} on rank {claim['rank']} from {claim['from']} to "
                             f"{claim['to']} ended with {claim['end']}")
    return found


def attempts_add_up(server, attempts):
    found = []
    for job, claims in attempts.items():
        used = len(claims) - sum(claim["end"] == "released" for claim in claims)
        says = int(server.client.hget(f"{PREFIX}job:{job}", "attempts") or 0)
        if says != used:
            found.append(f"attempts: job {job} says {says}, its events {used}")
        done = [claim for claim in claims if claim["end"] == "done"]
        if len(done) != 1:
            found.append(f"done {len(done)} times: job {job}")
    return found


def none_published_stale(seen, attempts):
    """A video got its name while its attempt had the job, and before anybody else had it."""
    found = []
    for job, picture in seen.items():
        claims = attempts.get(job, [])
        mine = [index for index, claim in enumerate(claims)
                if claim["attempt"] == picture["attempt"] and claim["rank"] == picture["rank"]]
        if not mine:
            found.append(f"stale: the video of {job} is of an attempt that nobody has claimed: {picture}")
            continue
        last = mine[-1]
        after = claims[last + 1]["from"] if last + 1 < len(claims) else None
        if after is not None and picture["published_ms"] > after + 20:
            found.append(f"stale: attempt {picture['attempt']} of {job} (rank {picture['rank']}) published at "
                         f"{picture['published_ms']}, after another claim at {after}")
    return found


def never_replaced(out, seen, ids):
    found = []
    for job in sorted(ids):
        video, sidecar = out / f"videos/{job}.mp4", out / f"videos/{job}.json"
        if not video.exists() or job not in seen:
            found.append(f"no video: {job}")
            continue
        first, now = seen[job], hashlib.sha256(video.read_bytes()).hexdigest()
        if first["sha256"] != first["sidecar_sha256"]:
            found.append(f"torn: when the video of {job} appeared, its sidecar was of another or missing")
        if (first["inode"], first["sha256"]) != (video.stat().st_ino, now):
            found.append(f"replaced: the video of {job} is not the one that appeared first")
        if not sidecar.exists() or json.loads(sidecar.read_text())["sha256"] != now:
            found.append(f"torn: the sidecar of {job} is missing or of another video")
    return found


def redis_says_so(server, out, ids):
    found = []
    for job in sorted(ids):
        video, sha = server.client.hmget(f"{PREFIX}job:{job}", "video", "sha256")
        path = out / f"videos/{job}.mp4"
        if path.exists() and (video, sha) != (f"videos/{job}.mp4", hashlib.sha256(path.read_bytes()).hexdigest()):
            found.append(f"torn: Redis says {video} {sha} of {job}, the disk says otherwise")
    return found


def frames_of(path):
    said = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries",
                           "stream=nb_read_frames,width,height", "-of", "csv=p=0", str(path)], capture_output=True,
                          text=True, check=False)
    return said.stdout.strip() + said.stderr.strip()


def decode(videos, frames=FRAMES, size=SIZE):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        said = list(pool.map(frames_of, videos))
    return [f"torn: {video.name}: {what}" for video, what in zip(videos, said) if what != f"{size},{size},{frames}"]


def litter(out):
    """Temporary files; and states of jobs whose video is out."""
    left = [file for folder in ("videos", "archive", "checkpoints") for file in (out / folder).glob(".*")]
    states = [file for file in (out / "checkpoints").glob("[!.]*.h5") if (out / f"videos/{file.stem}.mp4").exists()]
    return left, states


def close_to(undisturbed, out, ids, most=2e-5):
    """The latents, relative to those of an undisturbed run in another OUT."""
    found = []
    for job in sorted(ids):
        with h5py.File(undisturbed / f"archive/{job}.h5") as one, h5py.File(out / f"archive/{job}.h5") as other:
            expected, made = one["latents"][...], other["latents"][...]
        apart = numpy.linalg.norm(made - expected) / numpy.linalg.norm(expected)
        if not apart <= most:
            found.append(f"other latents than undisturbed: {job}, {apart:.1e} apart")
    return found


def equal_to(expected, out, ids):
    """`expected(job)`: {path below OUT: bytes' sha256}."""
    found = []
    for job in sorted(ids):
        for path, sha in expected(job).items():
            file = out / path
            if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != sha:
                found.append(f"other bytes than undisturbed: {path}")
    return found

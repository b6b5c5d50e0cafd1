"""What lands in OUT, looked at with other programs' eyes: ffprobe, h5py, Pillow, a shell."""
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

import h5py
import numpy
import PIL.Image

import program
from program import BUILD, MPIRUN, NIGHTREEL, SHAPES, engine, small

JOBS = [
    {"id": "plain", "prompt": "a red circle moves right on a black background", "num_inference_steps": 4},
    small("quoted", prompt="-it's a \"red\" circle; $HOME `id` \\ \u65e5\u672c", negative_prompt="", seed=2**63 - 1, fps=12.5,
          guidance_scale=1.5, sampler="unipc"),
    {"id": "sigmas", "prompt": "x", "sigmas": [1, 0.9375, 0.625], "num_frames": 5, "seed": 0, "priority": 3, "crf": 30},
    small("hevc", codec="hevc"),
]
EXACT = [job for job in JOBS if job.get("codec") != "hevc"]  # x265 promises no bytes
FIELDS = {"id", "job", "job_hash", "settings", "generate", "model", "model_digest", "versions", "host", "rank", "ranks",
          "gpu", "gpu_uuid", "renderers", "launcher_job", "cpu_capability", "threads", "crf", "codec", "attempt", "timings", "frames",
          "bytes", "sha256"}

NO_STATE = b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 20  # where the state of the first job would be saved


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def boxes(path):
    """The names of an MP4 file's outermost boxes, in order."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at:at + 8])
        names.append(name.decode())
        at += size or len(data)
    return names


def ffprobe(path):
    done = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json",
                           path], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def pictures(path, height, width):
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                          capture_output=True, check=True)
    return numpy.frombuffer(done.stdout, numpy.uint8).reshape(-1, height, width, 3)


class Outputs(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.whole = pathlib.Path(tempfile.mkdtemp(prefix="nightreel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.whole)
        jobs = cls.whole / "jobs.jsonl"
        jobs.write_text("".join(json.dumps(job) + "\n" for job in JOBS))
        cls.made = cls.whole / "out"
        (cls.made / "checkpoints").mkdir(parents=True)
        (cls.made / "checkpoints/plain.h5").write_bytes(NO_STATE)
        ended = program.call([*MPIRUN, "-np", 2, NIGHTREEL, "run", jobs, "--model", SHAPES, "--out", cls.made,
                              "--threads", "1", "--crf", "20", "--archive", "frames"],
                             env={"SLURM_JOB_ID": "4711"})
        assert ended.code == 0, ended.said

    def sidecar(self, name):
        return json.loads((self.made / f"videos/{name}.json").read_text())

    def test_each_job_has_its_set_and_nothing_else_lies_there(self):
        names = sorted(job["id"] for job in JOBS)
        self.assertEqual(sorted(os.listdir(self.made / "videos")),
                         sorted(name + end for name in names for end in (".jpg", ".json", ".mp4")))
        self.assertEqual(sorted(os.listdir(self.made / "archive")), [name + ".h5" for name in names])
        self.assertEqual(os.listdir(self.made / "checkpoints"), ["plain.h5.broken"])
        (run,) = os.listdir(self.made / "runs")
        self.assertEqual(sorted(os.listdir(self.made / "logs")), [run.removesuffix(".json")])
        for rank in (0, 1):
            log = self.made / "logs" / run.removesuffix(".json") / f"rank-{rank}.jsonl"
            for line in log.read_text().splitlines():
                self.assertIsInstance(json.loads(line), dict)
        summary = json.loads((self.made / "runs" / run).read_text())
        self.assertEqual({"run", "started", "ended", "model_digest", "ranks", "done", "failed", "cancelled", "jobs",
                          "held_elsewhere", "exit_code"} - summary.keys(), set())
        self.assertEqual(sorted((job["id"], job["state"], job["video"]) for job in summary["jobs"]),
                         [(name, "done", f"videos/{name}.mp4") for name in names])

    def test_sidecar(self):
        for job in JOBS:
            with self.subTest(job["id"]):
                sidecar = self.sidecar(job["id"])
                self.assertEqual(FIELDS - sidecar.keys(), set())
                video = self.made / f"videos/{job['id']}.mp4"
                self.assertEqual((sidecar["sha256"], sidecar["bytes"]), (sha256(video), video.stat().st_size))
                self.assertEqual(sidecar["job"], job)
                self.assertEqual((sidecar["attempt"], sidecar["ranks"], sidecar["threads"]), (1, 1, 1))
                self.assertEqual((sidecar["launcher_job"], sidecar["gpu"], sidecar["gpu_uuid"]), ("4711", "cpu", ""))
                self.assertIn(sidecar["rank"], (0, 1))
                self.assertEqual(sidecar["renderers"], [{key: sidecar[key] for key in ("rank", "host", "gpu", "gpu_uuid")}])
                self.assertGreater(min(sidecar["timings"][stage] for stage in ("text", "denoise", "decode", "encode")), 0)
                for library in ("nightreel", "commit", "libtorch", "libavcodec", "hdf5"):
                    self.assertTrue(sidecar["versions"][library])
                for field in job.keys() - {"id", "priority"}:
                    self.assertEqual(sidecar["settings"][field], job[field], field)
        plain = self.sidecar("plain")
        self.assertEqual(plain["settings"]["seed"],
                         int(plain["job_hash"][:16], 16) & (2**63 - 1), "the hash's first 8 bytes")
        canonical = json.dumps(plain["job"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self.assertEqual(plain["job_hash"], hashlib.sha256(canonical.encode()).hexdigest())

    def test_a_state_file_that_could_not_be_read_was_set_aside_and_its_job_started_afresh(self):
        self.assertEqual(self.sidecar("plain")["resumed_step"], 0)
        self.assertEqual((self.made / "checkpoints/plain.h5.broken").read_bytes(), NO_STATE)

    def words_of(self, command):
        """What a shell makes of it."""
        seen = subprocess.run(["sh", "-c", "nightreel() { printf '%s\\0' \"$@\"; }\n" + command], capture_output=True,
                              text=True, check=True)
        return seen.stdout.split("\0")[:-1]

    def test_a_jobs_own_crf_goes_before_the_runs(self):
        for name, crf in (("plain", 20), ("sigmas", 30), ("hevc", 20)):
            sidecar = self.sidecar(name)
            self.assertEqual((sidecar["crf"], sidecar["settings"]["crf"]), (crf, crf))
            self.assertIn(f" --crf {crf} --codec {sidecar['codec']} ", sidecar["generate"])

    def test_the_generate_command_makes_the_same_bytes_again(self):
        for job in EXACT:
            with self.subTest(job["id"]):
                command = self.sidecar(job["id"])["generate"]
                ended = engine(*self.words_of(command), cwd=self.folder)
                self.assertEqual(ended.code, 0, command + "\n" + ended.said)
                self.assertEqual(sha256(self.folder / f"{job['id']}.mp4"), self.sidecar(job["id"])["sha256"])

    def test_the_generate_command_works_where_it_is_typed(self):
        command = self.sidecar("quoted")["generate"]
        done = subprocess.run(command, shell=True, cwd=self.folder, capture_output=True, text=True, timeout=120,
                              env=program.without_redis(PATH=f"{BUILD}/bin:{os.environ['PATH']}"))
        self.assertEqual(done.returncode, 0, command + "\n" + done.stderr)
        self.assertEqual(sha256(self.folder / "quoted.mp4"), self.sidecar("quoted")["sha256"])

    def test_video_as_ffprobe_sees_it(self):
        for job in JOBS:
            with self.subTest(job["id"]):
                video, settings = self.made / f"videos/{job['id']}.mp4", self.sidecar(job["id"])["settings"]
                facts = ffprobe(video)
                (stream,) = facts["streams"]
                expected = {"codec_name": job.get("codec", "h264"), "pix_fmt": "yuv420p",
                            "color_space": "bt709", "color_range": "tv",
                            "color_primaries": "bt709", "color_transfer": "bt709", "width": settings["width"],
                            "height": settings["height"], "nb_read_frames": str(settings["num_frames"])}
                self.assertEqual({name: stream[name] for name in expected}, expected)
                numerator, denominator = map(int, stream["avg_frame_rate"].split("/"))
                self.assertEqual(numerator / denominator, settings["fps"])
                self.assertEqual([name for name in boxes(video) if name in ("moov", "mdat")], ["moov", "mdat"])
                self.assertNotIn("creation_time", json.dumps(facts))

    def test_archive_as_h5py_sees_it(self):
        for job in JOBS:
            with self.subTest(job["id"]):
                sidecar = self.sidecar(job["id"])
                s = sidecar["settings"]
                with h5py.File(self.made / f"archive/{job['id']}.h5") as archive:
                    self.assertEqual((archive.attrs["format"], archive.attrs["format_version"]), ("nightreel-archive", 1))
                    self.assertEqual(json.loads(archive.attrs["job"]), job)
                    self.assertEqual(json.loads(archive.attrs["settings"]), s)
                    self.assertEqual(json.loads(archive.attrs["model"])["digest"], sidecar["model_digest"])
                    self.assertEqual(set(archive), {"latents", "frames"})
                    latents, frames = archive["latents"], archive["frames"]
                    self.assertEqual(latents.dtype, numpy.float32)
                    self.assertEqual(latents.shape,
                                     (16, (s["num_frames"] - 1) // 4 + 1, s["height"] // 8, s["width"] // 8))
                    self.assertTrue(numpy.isfinite(latents[...]).all())
                    self.assertEqual((frames.dtype, frames.shape),
                                     (numpy.uint8, (s["num_frames"], s["height"], s["width"], 3)))
                    self.assertTrue(frames.chunks and frames.compression)
                    before = frames[...].astype(float)
                after = pictures(self.made / f"videos/{job['id']}.mp4", s["height"], s["width"])
                lost = numpy.abs(before - after).mean()  # by the codec, which loses more of what has more in it
                self.assertLess(lost, 8 + before.std() / 4, "the video shows other pictures")

    def test_decoding_the_archive_makes_the_same_bytes(self):
        for job in EXACT:
            with self.subTest(job["id"]):
                video = self.folder / "again.mp4"
                ended = engine("decode", self.made / f"archive/{job['id']}.h5", "-o", video, "--threads", "1",
                               "--crf", job.get("crf", 20))
                self.assert_ended(ended, 0)
                self.assertEqual(sha256(video), self.sidecar(job["id"])["sha256"])

    def test_contact_sheet(self):
        for job in JOBS:
            with PIL.Image.open(self.made / f"videos/{job['id']}.jpg") as sheet:
                self.assertEqual(sheet.format, "JPEG")
                sheet.load()
                self.assertGreaterEqual(min(sheet.size), 16)


if __name__ == "__main__":
    program.main()

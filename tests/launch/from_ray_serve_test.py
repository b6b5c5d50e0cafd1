"""docs/from-ray-serve.md: its lines, run from top to bottom as they are printed, with the variables left over
that it says are without effect."""
import json
import os
import re
import socket
import subprocess
import sys

from launching import LaunchTest, NIGHTREEL, SOURCE, finish, program, until

PAGE = (SOURCE / "docs/from-ray-serve.md").read_text()
DEMO = [json.loads(line) for line in (SOURCE / "jobs/demo.jsonl").read_text().splitlines()]
SMALL = {"num_inference_steps": 2, "num_frames": 5, "height": 16, "width": 16}  # the page's lines are what is shown here
# What Ray's and torch.distributed's users leave in their environment, all of it wrong.
LEFT_OVER = {"RANK": "7", "WORLD_SIZE": "64", "LOCAL_RANK": "3", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1",
             "TOTAL_WORKERS": "64"}
HERE = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "NIGHTREEL_DEVICE": "cpu", "NIGHTREEL_THREADS": "1"}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


class FromRayServe(LaunchTest):
    def setUp(self):
        super().setUp()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        server = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir",
                                   self.folder], stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        (self.folder / "models").symlink_to(SOURCE / "models")
        (self.folder / "jobs").mkdir()
        (self.folder / "jobs/demo.jsonl").write_text("".join(json.dumps({**job, **SMALL}) + "\n" for job in DEMO))
        ping = ["redis-cli", "-p", str(self.port), "ping"]
        self.assertTrue(until(lambda: subprocess.run(ping, capture_output=True).stdout == b"PONG\n"))

    def environment(self, **more):
        return {**LEFT_OVER, **HERE, "PATH": f"{NIGHTREEL.resolve().parent}:{os.environ['PATH']}", **more}

    def test_its_lines_do_what_it_says(self):
        submit, run, morning = (block.replace("6379", str(self.port)) for block in blocks("sh"))
        (requests,) = (block.replace("6379", str(self.port)) for block in blocks("python"))
        asking = self.start(sys.executable, "-c", requests)
        ended = self.call("sh", "-ceu", submit + run + morning)
        self.assert_ended(ended, 0)
        self.assertIn(f"{len(DEMO)} added", ended.out)
        asked = finish(asking)
        self.assertEqual((asked.code, asked.out), (0, "done videos/cat.mp4 None\n"), asked.said)
        made = {job["id"] for job in DEMO} | {"cat"}
        out = self.folder / "out/evening"
        self.assertEqual(set(self.videos(out)), made)
        self.assertIn("cat.mp4\n", ended.out)
        self.assertEqual([rank["rank"] for rank in self.summaries(out)[0]["ranks"]], [0, 1])


if __name__ == "__main__":
    program.main()

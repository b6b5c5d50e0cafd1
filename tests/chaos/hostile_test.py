"""Ids, paths and prompts that mean harm, through a job file and through the inbox: refused or harmless wherever they are
shown: terminal, status, logs, summaries, sidecars, pages.
"""
import json
import os

import redis

import fault_case
import program
from fault_case import FaultCase, job

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b2J\r\b"
HTML = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PROMPT = f"step_ms=1 {ESCAPES} {HTML} \u202egnirts\u2028"
IDS = ["../up", "a/b", "/etc/passwd", "..", ".hidden", "", "a\nb", "a\0b", "a b", "x" * 129, "\x1b[2J",
       "--out", "inbox-0123456789abcdef"]


def shown(text):
    """Control characters that a terminal would obey."""
    return [char for char in text if (ord(char) < 32 and char not in "\n\t") or 0x7f <= ord(char) < 0xa0]


class Hostile(FaultCase):
    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def refused(self, jobs, *flags):
        """By the first thing that a run does, so without a launcher."""
        ended = program.nightreel("run", self.write_jobs(*jobs), "--model", program.SHAPES, "--out", self.out, *flags)
        self.assertEqual(ended.code, 2, ended.said)
        self.assert_harmless(ended.log)
        return ended.log

    def assert_harmless(self, text):
        self.assertEqual(shown(text.replace("\r\n", "\n")), [], text)

    def test_ids_in_a_job_file(self):
        before = None
        for name in IDS:
            with self.subTest(name):
                self.assertIn(f"{self.folder}/jobs.jsonl:2: id: ", self.refused([job("good"), job(name)]))
                before = before or self.files()
                self.assertEqual(self.files(), before)
        self.assertFalse(self.out.exists())

    def test_images_outside_the_input_root(self):
        root = self.folder / "root"
        root.mkdir()
        (self.folder / "secret.png").write_bytes(b"x")
        os.symlink(self.folder / "secret.png", root / "link.png")
        for image in ("../secret.png", str(self.folder / "secret.png"), "link.png", "/etc/passwd", "\x1b[2J.png"):
            with self.subTest(image):
                self.assertIn("jobs.jsonl:1: image: ", self.refused([job("a", image=image)], "--input-root", root))

    def test_what_is_pushed_and_what_is_prompted(self):
        client = redis.Redis(unix_socket_path=self.url.removeprefix("unix://"))
        bad = [json.dumps({"prompt": "x", "id": name}) for name in IDS]
        bad += [json.dumps({"prompt": "x", ESCAPES + HTML: 1}), json.dumps({"prompt": "x", "image": "../secret.png"}),
                ESCAPES + HTML, "\xff\xfe"]
        client.rpush("nightreel:{default}:inbox", *bad)
        ended = self.run_jobs([job("a", PROMPT, negative_prompt=PROMPT)], "--failed-ok")
        self.assert_ended(ended, 0)
        states = self.states()
        self.assertEqual(states.pop("a"), "done")
        self.assertEqual(set(states.values()), {"failed"})
        self.assertEqual(len(states), len(bad))
        self.assertEqual(len([name for name in states if name.startswith("inbox-")]), len(bad))
        self.assert_whole("a")
        texts = [ended.out, ended.log, program.nightreel("status", "--all", "--redis", self.url).out,
                 program.nightreel("status", "--all", "--json", "--redis", self.url).out]
        texts += [file.read_text() for pattern in ("logs/*/*", "runs/*") for file in self.out.glob(pattern)]
        for text in texts:
            self.assert_harmless(text)
        sidecar = (self.out / "videos/a.json").read_text()  # a file for programs: the prompt as it was, in JSON's escapes
        self.assertNotIn("\x1b", sidecar)
        self.assertEqual(json.loads(sidecar)["job"]["prompt"], PROMPT)
        for page in self.out.glob("**/*.html"):
            self.assertNotIn("<script>alert", page.read_text())
            self.assertNotIn("<img src=x", page.read_text())
        self.assertEqual([name for name in os.listdir(self.folder) if name in ("up", "secret.png")], [])


if __name__ == "__main__":
    fault_case.main()

"""What README.md and docs/ tell the reader to type: the Python lines run as they stand, and the program knows each
command and each flag.
"""
import re
import subprocess
import sys
import threading

import redis

import program
from program import SHAPES, SOURCE, nightreel, until

PAGES = [SOURCE / "README.md", *sorted((SOURCE / "docs").glob("*.md"))]
OF_OTHERS = {"--preset", "--build", "--install", "--prefix",  # cmake's
             "--gpus-per-node", "--gpus-per-task", "--gpu-bind", "--signal", "--open-mode", "--mpi", "--batch",  # Slurm's
             "--dependency", "--force"}  # sbatch's, kubectl's
# The lines stay as they are printed; the server behind their address is the test's.
AT_OUR_SERVER = """import redis, sys
named = redis.Redis.from_url
redis.Redis.from_url = lambda url, **how: named(sys.argv[1], **how)
exec(sys.stdin.read())
"""


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def help_of(*words):
    return nightreel(*words, "--help").out


def help_of_tools():
    """What the repository's own tools, where a page names them, say of their flags."""
    named = {path for page in PAGES for path in re.findall(r"\b(?:bench|tests|tools)/[\w/]+\.py\b", page.read_text())}
    tools = [["sh", SOURCE / "scripts/chaos"], *([sys.executable, "-B", SOURCE / path] for path in sorted(named)
                                                 if "ArgumentParser" in (SOURCE / path).read_text())]
    return "\n".join(subprocess.run([*tool, "--help"], check=True, capture_output=True, text=True).stdout
                     for tool in tools)


class WhatTheReaderTypes(program.ProgramTest):
    def test_redis_lines_add_a_job_that_a_run_makes(self):
        scripts = [(page.name, block) for page in PAGES for block in blocks(page, "python") if "import redis" in block
                   or "redis.Redis" in block]
        self.assertIn("README.md", [name for name, _ in scripts])
        url = self.redis()
        client = redis.Redis.from_url(url, decode_responses=True)
        for name, script in scripts:
            with self.subTest(name):
                client.flushall()
                reader = subprocess.Popen([sys.executable, "-c", AT_OUR_SERVER, url], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                done = []
                thread = threading.Thread(target=lambda: done.append(reader.communicate(script, timeout=60)))
                thread.start()
                self.assertTrue(until(lambda: client.llen("nightreel:{default}:inbox")), "nothing was pushed")
                ended = nightreel("run", "--model", SHAPES, "--out", self.folder / name, "--redis", url, "--threads", "1")
                thread.join()
                self.assertEqual(reader.returncode, 0, done)
                self.assert_ended(ended, 0)
                self.assertEqual(client.hget("nightreel:{default}:job:cat", "state"), "done")
                self.assertEqual(client.hget("nightreel:{default}:job:cat", "video"), "videos/cat.mp4")
                events = [event["event"] for _, event in client.xrange("nightreel:{default}:events")]
                self.assertEqual(events, ["submitted", "running", "done"])

    def test_commands_and_flags_are_known(self):
        helps = {"": help_of()}
        for page in PAGES:
            text = page.read_text()
            typed = [line for block in blocks(page, "sh") for line in block.splitlines()]
            typed += re.findall(r"`([^`\n]+)`", text)
            for line in typed:
                command = re.search(r"\bnightreel ((?:model |bench (?=comm\b))?[a-z]+)(.*)", line)
                if not command or line.lstrip().startswith("kubectl "):
                    continue
                name = command[1]
                helps.setdefault(name, help_of(*name.split()))
                with self.subTest(page=page.name, command=line):
                    self.assertIn(f"Usage: nightreel {name}", helps[name].replace("nightreel-engine", "nightreel"))
                    for flag in re.findall(r"--[a-z][a-z_-]*", command[2]):
                        self.assertIn(flag.replace("_", "-"), helps[name])
        every = "\n".join([*helps.values(), help_of_tools()])
        for page in PAGES:
            for span in re.findall(r"`([^`\n]+)`", page.read_text()):
                for flag in re.findall(r"(?<![\w-])--[a-z][a-z_-]*", span):
                    with self.subTest(page=page.name, flag=flag):
                        self.assertTrue(flag in OF_OTHERS or flag.replace("_", "-") in every, "no command has this flag")


if __name__ == "__main__":
    program.main()

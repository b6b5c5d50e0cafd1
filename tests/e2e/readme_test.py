"""What README.md and docs/ tell the reader to type: the Python lines run as they stand, and the program knows each
command and each flag.
"""
import re
import subprocess
import sys
import threading

import redis

import program
from program import SHAPES, SOURCE, engine, nightreel, until

OF_THE_ENGINE = {"generate", "decode", "model", "bench", "render"}
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


def help_of(name):
    """Of a subcommand; the engine's are asked where they are."""
    ended = (engine if name.split()[0] in OF_THE_ENGINE and name != "bench comm" else nightreel)(*name.split(), "--help")
    return ended.out.replace("nightreel-engine", "nightreel")


def flags_of_tools():
    """What the repository's own tools, where a page names them, add to their parsers. Starting them would import LibTorch."""
    named = {path for page in PAGES for path in re.findall(r"\b(?:bench|tests|tools)/[\w/]+\.py\b", page.read_text())}
    tools = [SOURCE / path for path in sorted({*named, "tests/chaos/chaos.py", "tests/fuzz/fuzz.py"})]  # by scripts/
    scripts = {SOURCE / path for page in PAGES for path in re.findall(r"\bscripts/[a-z-]+\b", page.read_text())}
    texts = [tool.read_text() for tool in [*tools, *scripts] if tool.is_file()]
    return {flag for text in texts for flag in re.findall(r"add_argument\(\s*\"(--[\w-]+)\"|^ *(--[\w-]+)(?=[|)])", text,
                                                          re.MULTILINE) for flag in flag if flag}


class WhatTheReaderTypes(program.ProgramTest):
    def test_redis_lines_add_a_job_that_a_run_makes(self):
        scripts = [(page.name, block) for page in PAGES for block in blocks(page, "python") if "import redis" in block
                   or "redis.Redis" in block]
        self.assertLessEqual({"README.md", "from-ray-serve.md", "redis.md"}, {name for name, _ in scripts})
        url = self.redis()
        nightreel_of_fakes = self.with_fake_renderer()
        client = redis.Redis.from_url(url, decode_responses=True)
        for name, script in scripts:
            with self.subTest(name):
                client.flushall()
                reader = subprocess.Popen([sys.executable, "-c", AT_OUR_SERVER, url], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                done = []
                thread = threading.Thread(target=lambda: done.append(reader.communicate(script, timeout=120)))
                thread.start()
                self.assertTrue(until(lambda: client.llen("nightreel:{default}:inbox"), 120), "nothing was pushed")
                if "block=" in script:
                    self.assertTrue(until(lambda: client.info("clients")["blocked_clients"], 120), "it does not wait")
                ended = program.call([nightreel_of_fakes, "run", "--model", SHAPES, "--out", self.folder / name, "--redis",
                                      url, "--threads", "1"])
                self.assert_ended(ended, 0)
                thread.join()
                self.assertEqual(reader.returncode, 0, done)
                self.assertEqual(client.hget("nightreel:{default}:job:cat", "state"), "done")
                self.assertEqual(client.hget("nightreel:{default}:job:cat", "video"), "videos/cat.mp4")
                events = [event["event"] for _, event in client.xrange("nightreel:{default}:events")]
                self.assertEqual(events, ["submitted", "running", "done"])

    def test_commands_and_flags_are_known(self):
        helps, commands, flags = {}, 0, 0
        for page in PAGES:
            text = page.read_text()
            typed = [line for block in blocks(page, "sh") for line in block.splitlines()]
            typed += re.findall(r"`([^`\n]+)`", text)
            for line in typed:
                command = re.search(r"\bnightreel ((?:model |bench (?=comm\b))?[a-z]+)(.*)", line)
                if not command or line.lstrip().startswith("kubectl "):
                    continue
                name = command[1]
                helps[name] = helps.get(name) or help_of(name)
                with self.subTest(page=page.name, command=line):
                    self.assertIn(f"Usage: nightreel {name}", helps[name])
                    for flag in re.findall(r"--[a-z][a-z_-]*", command[2]):
                        self.assertIn(flag.replace("_", "-"), helps[name])
                        flags += 1
                commands += 1
        self.assertLessEqual({"run", "submit", "status", "cancel", "retry", "doctor", "generate", "decode", "model info",
                              "model check", "model convert", "bench", "bench comm"}, set(helps))
        self.assertGreaterEqual(commands, 50, "most of the commands were not seen")
        self.assertGreaterEqual(flags, 50, "most of the commands' flags were not seen")
        every, tools, named = "\n".join([*helps.values(), nightreel("--help").out]), flags_of_tools(), set()
        for page in PAGES:
            for span in re.findall(r"`([^`\n]+)`", page.read_text()):
                for flag in re.findall(r"(?<![\w-])--[a-z][a-z_-]*", span):
                    named.add(flag)
                    known = flag in OF_OTHERS or flag in tools or flag.replace("_", "-") in every
                    with self.subTest(page=page.name, flag=flag):
                        self.assertTrue(known, "no command has this flag")
        self.assertGreaterEqual(len(named), 60, "most of the flags were not seen")


if __name__ == "__main__":
    program.main()

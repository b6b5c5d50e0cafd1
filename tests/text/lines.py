"""Sends texts to a test executable, one JSON string a line, and reads one JSON value a line."""

import json
import subprocess


def ask(command, texts):
    asked = "".join(json.dumps(text) + "\n" for text in texts)
    answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise SystemExit(f"{command} ended with {answer.returncode}: {answer.stderr[-2000:]}")
    return [json.loads(line) for line in answer.stdout.splitlines()]

#!/usr/bin/env python3
"""The chaos runs' stub of nightreel-engine, which stops in the middle of each video until the test lets it go on.

In $HELD_FOLDER it makes at-JOB when it is there, waits for go-JOB, and makes rendered-JOB when the files are written.
$HELD_STUB is the folder of the stub; $HELD_DIGEST, where set, is the model's. Beside a copy of nightreel ranks start it.
"""
import os
import pathlib
import sys
import time

sys.path.insert(0, os.environ["HELD_STUB"])
import stub_engine  # noqa: E402

FOLDER = pathlib.Path(os.environ["HELD_FOLDER"])
stub_engine.DIGEST = os.environ.get("HELD_DIGEST", stub_engine.DIGEST)


class Held(stub_engine.Stub):
    def about(self, event, request, **fields):
        super().about(event, request, **fields)
        job = request["job"]
        if event == "progress" and fields["stage"] == "denoise" and fields["step"] == 2:
            (FOLDER / f"at-{job}").touch()
            while not (FOLDER / f"go-{job}").exists():
                time.sleep(0.02)
        if event == "done":
            (FOLDER / f"rendered-{job}").touch()


if __name__ == "__main__":
    Held().run()
    os._exit(0)  # its threads still run

"""How the chaos runs' stub renderers take each step together: the first member says what is next over a socket of its
own, and every other one must have come to the same state. A member that is gone is everybody's end.
"""
import json
import socket


class Lost(Exception):
    """Of the other members."""


class Group:
    """At first one of one: there is nobody to tell."""

    def __init__(self):
        self.listener, self.others, self.first = None, [], None
        self.announced = None  # by the first, and not yet asked for by this one's rank

    @property
    def follows(self):
        return self.first is not None

    def listen(self, address):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("\0" + address)  # in no folder: it goes with the process
        self.listener.listen()

    def meet(self, request):
        if request["rank"] == 0:
            accepted = [self.listener.accept()[0] for _ in range(request["size"] - 1)]
            self.others = [one.makefile("rw") for one in accepted]
            return
        one = socket.socket(socket.AF_UNIX)
        one.connect("\0" + request["address"])
        self.first = one.makefile("rw")

    # ---- the first member -------------------------------------------------------------------------------------------

    def tell(self, **word):
        for other in self.others:
            write(other, word)

    def take(self, step, state):
        """A step, which all others must have taken to the same state."""
        self.tell(step=step)
        for other in self.others:
            told = read(other)["state"]
            if told != state:
                raise AssertionError(f"a member of the group has come to {told} after step {step}, not to {state}")

    # ---- the others -------------------------------------------------------------------------------------------------

    def joins_in(self, token, next_state):
        """Takes part in the video that is next, if it is this one; returns whether it was."""
        if self.announced is None:
            self.announced = self.read_video()
        if self.announced["token"] != token:
            return False
        state, self.announced = self.announced["state"], None
        while "over" not in (word := read(self.first)):
            state = next_state(state, word["step"])
            write(self.first, {"state": state})
        return True

    def read_video(self):
        while "token" not in (word := read(self.first)):
            pass  # the end of one that was let go of before it began
        return word


def write(file, word):
    try:
        file.write(json.dumps(word) + "\n")
        file.flush()
    except OSError as error:
        raise Lost(str(error)) from error


def read(file):
    try:
        line = file.readline()
    except OSError as error:
        raise Lost(str(error)) from error
    if not line:
        raise Lost("a member of the group did not come")
    return json.loads(line)

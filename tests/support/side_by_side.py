"""Tests that wait for other processes, several at a time. A test file says

    load_tests = side_by_side.loader(threads=4)

and the tests of each of its classes run in so many threads, between the class's own set-up and tear-down; with
`across_classes` all of the file's do, which then has no such set-up. What they share must bear that; folders, processes
and ports are each test's own. Those marked `@side_by_side.long` begin first. Results come in the usual order.
"""
import concurrent.futures
import functools
import unittest

HEARD = ("addSuccess", "addError", "addFailure", "addSkip", "addExpectedFailure", "addUnexpectedSuccess", "addSubTest")


def long(test):
    test.is_long = True
    return test


def is_short(test):
    return not getattr(getattr(test, test.id().rpartition(".")[2], None), "is_long", False)


class Recorder(unittest.TestResult):
    """What one test says of itself, for `replay` to tell the result that is shown."""

    def __init__(self):
        super().__init__()
        self._said = []
        for name in HEARD:
            setattr(self, name, functools.partial(self._hear, name))

    def _hear(self, name, *words):
        self._said.append((name, words))

    def replay(self, test, result):
        result.startTest(test)
        for name, words in self._said:
            getattr(result, name)(*words)
        result.stopTest(test)


class Together:
    """The first of these tests that is asked to run starts all, each that is asked waits for its own end."""

    def __init__(self, tests, threads):
        self._threads = threads
        self._runs = [(test, test.run) for test in sorted(tests, key=is_short)]
        self._ended = {}
        for test in tests:
            test.run = functools.partial(self._run, test)

    def _run(self, test, result):
        if not self._ended:
            pool = concurrent.futures.ThreadPoolExecutor(self._threads)
            self._ended = {each: pool.submit(self._record, run) for each, run in self._runs}
            pool.shutdown(wait=False)
        self._ended[test].result().replay(test, result)
        return result

    @staticmethod
    def _record(run):
        recorder = Recorder()
        run(recorder)
        return recorder


def loader(threads, across_classes=False):
    """A `load_tests` as unittest looks for in a module."""
    def load_tests(_, suites, __):
        classes = [list(suite) for suite in suites]
        for tests in [sum(classes, [])] if across_classes else classes:
            Together(tests, threads)
        return suites
    return load_tests

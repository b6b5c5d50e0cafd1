"""tests/support/side_by_side.py: as many tests at a time as were asked for, and no verdict is lost or told of another."""
import sys
import threading
import types
import unittest

import side_by_side


def suites_of(*classes, **how):
    """As unittest.main loads a file with these classes."""
    module = types.ModuleType("a_file")
    for each in classes:
        setattr(module, each.__name__, each)
        each.__module__ = "a_file"
    module.load_tests = side_by_side.loader(**how)
    sys.modules["a_file"] = module
    return unittest.defaultTestLoader.loadTestsFromModule(module)


class SideBySide(unittest.TestCase):
    def test_as_many_as_there_are_threads_are_under_way_and_long_ones_begin_first(self):
        meeting = threading.Barrier(3)
        begun = []

        class Meets(unittest.TestCase):
            def test_a(self):
                begun.append("a")
                meeting.wait(60)

            test_b = test_a

            @side_by_side.long
            def test_c(self):
                begun.append("c")
                meeting.wait(60)
        result = unittest.TestResult()
        suites_of(Meets, threads=3).run(result)
        self.assertEqual((result.testsRun, result.errors), (3, []))
        self.assertEqual(sorted(begun), ["a", "a", "c"])
        del begun[:]
        meeting = threading.Barrier(1)
        suites_of(Meets, threads=1).run(result)
        self.assertEqual(begun, ["c", "a", "a"])

    def test_classes_meet_where_that_is_asked_for(self):
        meeting = threading.Barrier(2)

        class One(unittest.TestCase):
            def test(self):
                meeting.wait(60)

        class Other(One):
            pass
        result = unittest.TestResult()
        suites_of(One, Other, threads=2, across_classes=True).run(result)
        self.assertEqual((result.testsRun, result.errors), (2, []))

    def test_verdicts_are_those_of_the_tests(self):
        class Ends(unittest.TestCase):
            def test_error(self):
                raise OSError("gone")

            def test_failure(self):
                self.assertEqual(1, 2)

            def test_part(self):
                for number in range(3):
                    with self.subTest(number=number):
                        self.assertNotEqual(number, 1)

            def test_skip(self):
                self.skipTest("no need")

            def test_success(self):
                pass

            @unittest.expectedFailure
            def test_trouble(self):
                self.fail()

            @unittest.expectedFailure
            def test_unexpected(self):
                pass
        result = unittest.TestResult()
        suites_of(Ends, threads=4).run(result)
        self.assertEqual(result.testsRun, 7)
        self.assertFalse(result.wasSuccessful())
        self.assertEqual([(len(pairs), pairs[0][0].id().rpartition(".")[2]) for pairs in (
            result.errors, result.skipped, result.expectedFailures)], [(1, "test_error"), (1, "test_skip"), (1, "test_trouble")])
        self.assertIn("OSError: gone", result.errors[0][1])
        failed = [str(test) for test, _ in result.failures]
        self.assertEqual(len(failed), 2)
        self.assertIn("test_failure", failed[0])
        self.assertIn("number=1", failed[1])
        self.assertEqual(len(result.unexpectedSuccesses), 1)

    def test_a_class_is_set_up_before_its_tests_and_torn_down_after_them(self):
        seen = []

        class Fixture(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                seen.append("up")

            @classmethod
            def tearDownClass(cls):
                seen.append("down")

            def test_a(self):
                seen.append("test")

            test_b = test_a

        class Broken(Fixture):
            @classmethod
            def setUpClass(cls):
                raise OSError("no server")
        result = unittest.TestResult()
        suites_of(Fixture, threads=2).run(result)
        self.assertEqual(seen, ["up", "test", "test", "down"])
        suites_of(Broken, threads=2).run(result)
        self.assertIn("no server", result.errors[0][1])
        self.assertEqual(result.testsRun, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)

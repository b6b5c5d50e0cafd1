"""share/nightreel/job.schema.json judges jobs as the program does, as far as a schema can."""
import json
import os
import pathlib
import sys
import unittest

import jsonschema

SOURCE = pathlib.Path(os.environ["NIGHTREEL_SOURCE_DIR"])
# Of tests/job/bad: a key twice, two lines with one id, files, two fields that do not agree, a list's order, and what is
# text or a whole number to JSON Schema alone.
BEYOND_A_SCHEMA = {"duplicate_key", "id_twice", "image_is_folder", "image_missing_file", "lora_missing_file",
                   "sigmas_and_steps", "sigmas_rising", "height_float", "lone_surrogate"}


def no_json(name):
    raise ValueError(f"{name} is no JSON")


def lines(path):
    return [line for line in path.read_bytes().split(b"\n") if line.strip()]


class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        text = (SOURCE / "share/nightreel/job.schema.json").read_text(encoding="utf-8")
        cls.schema = json.loads(text)
        jsonschema.Draft202012Validator.check_schema(cls.schema)
        cls.validator = jsonschema.Draft202012Validator(cls.schema)

    def is_refused(self, line):
        try:
            return not self.validator.is_valid(json.loads(line.decode("utf-8"), parse_constant=no_json))
        except ValueError:
            return True

    def test_every_job_in_jobs_is_valid(self):
        seen = 0
        for path in sorted((SOURCE / "jobs").glob("*.jsonl")):
            for line in lines(path):
                with self.subTest(path=path.name, line=line):
                    self.validator.validate(json.loads(line))
                seen += 1
        self.assertGreaterEqual(seen, 12)

    def test_every_bad_line_that_a_schema_can_judge_is_refused(self):
        paths = sorted((SOURCE / "tests/job/bad").glob("*.jsonl"))
        self.assertGreaterEqual(len(paths), 60)
        valid = {path.stem for path in paths if not any(self.is_refused(line) for line in lines(path))}
        self.assertEqual(valid, BEYOND_A_SCHEMA)

    def test_each_field_says_what_it_is(self):
        for name, field in self.schema["properties"].items():
            with self.subTest(name):
                self.assertTrue(field["description"])
                self.assertIn("type", field)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

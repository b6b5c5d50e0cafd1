"""Takes includes out of small headers and looks whether check_includes.py misses each of them."""

import tempfile
import unittest
from pathlib import Path

import check_includes

FILE_H = """#pragma once
#include <string>
namespace nightreel::base {
/// Says "std::vector" in a comment alone.
class File {
 public:
  struct Part {};
  Part part(const std::string& name);
};
inline constexpr int kMost = 3;
std::string text_of(const File& file);
}
"""
JOB_H = """#pragma once
#include <cstdint>
#include "nightreel/base/file.h"
namespace nightreel::job {
class Later;
struct Job {
  base::File file;
  std::int64_t seed = base::kMost;
  Later* later = nullptr;
  at::Tensor* none();
};
}
"""


class CheckIncludes(unittest.TestCase):
    def faults(self, job=JOB_H, file=FILE_H):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("base/file.h", file), ("job/job.h", job), ("job/later.h", LATER_H)):
                path = Path(folder) / "include/nightreel" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return check_includes.check(Path(folder))

    def test_what_is_there_is_no_fault(self):
        self.assertEqual(self.faults(JOB_H.replace("  at::Tensor* none();\n", "")), [])

    def test_a_project_header_that_is_missing(self):
        faults = self.faults(JOB_H.replace('#include "nightreel/base/file.h"\n', ""))
        self.assertIn("include/nightreel/job/job.h: names base::File without nightreel/base/file.h", faults)
        self.assertIn("include/nightreel/job/job.h: names base::kMost without nightreel/base/file.h", faults)

    def test_a_name_of_the_same_layer_that_nobody_declared(self):
        faults = self.faults(JOB_H.replace("class Later;\n", ""))
        self.assertIn("include/nightreel/job/job.h: names job::Later without nightreel/job/later.h", faults)

    def test_a_standard_header_that_is_missing(self):
        self.assertIn("include/nightreel/base/file.h: names std::string without <string>",
                      self.faults(file=FILE_H.replace("#include <string>\n", "")))
        self.assertIn("include/nightreel/job/job.h: names std::int64_t without <cstdint>",
                      self.faults(JOB_H.replace("#include <cstdint>\n", "")))

    def test_a_foreign_namespace_without_its_header(self):
        self.assertEqual(self.faults(), ["include/nightreel/job/job.h: names at:: without a header of it"])

    def test_a_header_that_is_not_guarded(self):
        self.assertIn("include/nightreel/base/file.h: has no #pragma once",
                      self.faults(file=FILE_H.replace("#pragma once\n", "")))

    def test_the_project_has_headers(self):
        root = Path(__file__).resolve().parent.parent.parent
        self.assertGreaterEqual(len(check_includes.read_headers(root)), 90)


LATER_H = """#pragma once
namespace nightreel::job {
class Later {};
}
"""

if __name__ == "__main__":
    unittest.main()

"""Plants violations in small trees and looks whether check_layers.py finds each of them."""

import tempfile
import unittest
from pathlib import Path

import check_layers

TABLE = """
[layers]
base:
job:
media: job
app/common:
app/tool: job media app/common
[third-party]
nlohmann/*: *
hdf5.h: src/media/hdf5.cpp
ATen/*: media
CLI/*: app/common app/tool
"""


GOOD = {
    "include/nightreel/media/a.h": '#pragma once\n#include <vector>\n#include "nightreel/job/b.h"\n',
    "include/nightreel/job/b.h": '#include "nightreel/base/c.h"\n#include <nlohmann/json.hpp>\n',
    "src/media/hdf5.cpp": '#include <hdf5.h>\n#include "media/hdf5.h"\n#include <sys/stat.h>\n#include <unistd.h>\n',
    "src/media/x.cu": "#include <ATen/ATen.h>\n",
    "src/app/common/x.h": "#include <CLI/CLI.hpp>\n",
    "src/app/tool/main.cpp": '#include "app/common/x.h"\n#include "nightreel/media/a.h"\n#include <CLI/CLI.hpp>\n'
                             '#include "nightreel/job/b.h"\n',
    "src/media/CMakeLists.txt": "nightreel_layer(media TORCH\n  SOURCES a.cpp\n  USES job\n  LIBS hdf5)\n",
}  # fmt: skip


class CheckLayers(unittest.TestCase):
    def faults(self, files, table=TABLE, look=check_layers.check):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "src").mkdir()
            (root / "layers.txt").write_text(table)
            for name, text in files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return list(look(root, root / "layers.txt"))

    def one(self, name, text):
        """The only fault of a tree with one file."""
        faults = self.faults({name: text})
        self.assertEqual(len(faults), 1, faults)
        return faults[0]

    def test_a_tree_that_keeps_to_the_table_has_no_fault(self):
        self.assertEqual(self.faults(GOOD), [])
        self.assertEqual(self.faults(GOOD, look=check_layers.unused), [])

    def test_an_arrow_that_points_up_is_found(self):
        self.assertEqual(
            self.one("src/job/a.cpp", '\n#include "nightreel/media/a.h"\n'),
            "src/job/a.cpp:2: job may not include media (nightreel/media/a.h)",
        )
        self.assertIn("base may not include job", self.one("include/nightreel/base/a.h", '#include "nightreel/job/b.h"\n'))
        self.assertIn("may not include app/common", self.one("src/job/a.cpp", '#include "app/common/x.h"\n'))

    def test_other_spellings_are_found_too(self):
        for line in ("#include <nightreel/media/a.h>", '  #  include "nightreel/media/a.h"', '#include"nightreel/media/a.h"'):
            self.assertIn("job may not include media", self.one("src/job/a.cpp", line + "\n"))

    def test_a_private_header_of_another_layer_is_found(self):
        self.assertIn("job/b.h is private to job", self.one("src/media/a.cpp", '#include "job/b.h"\n'))

    def test_a_header_without_its_layer_is_found(self):
        self.assertIn('write it as "job/', self.one("src/job/a.cpp", '#include "fields.h"\n'))

    def test_a_folder_that_is_no_layer_is_found(self):
        self.assertIn("lies in no layer", self.one("src/extra/a.cpp", "\n"))
        self.assertIn("lies in no layer", self.one("include/nightreel/extra/a.h", "\n"))
        self.assertIn("lies in no layer", self.one("src/app/other/main.cpp", "\n"))
        self.assertIn("is of no layer", self.one("src/job/a.cpp", '#include "nightreel/extra/a.h"\n'))

    def test_third_party_outside_its_wrapper_is_found(self):
        self.assertIn("<hdf5.h> belongs to src/media/hdf5.cpp", self.one("src/media/b.cpp", "#include <hdf5.h>\n"))
        self.assertIn("<ATen/ATen.h> belongs to media", self.one("src/job/a.cpp", "#include <ATen/ATen.h>\n"))
        self.assertIn("<boost/any.hpp> is in no line", self.one("src/job/a.cpp", "#include <boost/any.hpp>\n"))
        self.assertIn("<mpi.h> is in no line", self.one("src/job/a.cpp", "#include <mpi.h>\n"))

    def test_a_link_that_the_table_forbids_is_found(self):
        self.assertEqual(
            self.one("src/job/CMakeLists.txt", "nightreel_layer(job\n  SOURCES a.cpp\n  USES base media)\n"),
            "src/job/CMakeLists.txt: job may not use media",
        )

    def test_what_nobody_uses_is_found(self):
        def left_over(name, old, new):
            return self.faults({**GOOD, name: GOOD[name].replace(old, new)}, look=check_layers.unused)

        self.assertEqual(
            left_over("src/app/tool/main.cpp", '#include "nightreel/job/b.h"\n', ""),
            ["layers.txt: app/tool may include job, and does not"],
        )
        self.assertEqual(
            left_over("src/media/hdf5.cpp", "#include <hdf5.h>\n", ""),
            ["layers.txt: src/media/hdf5.cpp may include <hdf5.h>, and does not"],
        )
        self.assertEqual(
            left_over("src/media/CMakeLists.txt", "USES job", "USES base job"),
            ["src/media/CMakeLists.txt: media uses base, and includes nothing of it"],
        )

    def test_a_cycle_and_an_unknown_name_in_the_table_are_found(self):
        cycle = self.faults({}, "[layers]\na: b\nb: c\nc: a\n[third-party]\n")
        self.assertEqual(len(cycle), 1)
        self.assertIn("a → b → c → a", cycle[0])
        self.assertIn("b, which is no layer", self.faults({}, "[layers]\na: b\n[third-party]\n")[0])


if __name__ == "__main__":
    unittest.main()

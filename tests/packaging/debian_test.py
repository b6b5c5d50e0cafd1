"""cpack's Debian package: what it says of itself, and that it runs from where dpkg-deb unpacks it. Without LibTorch's
gigabytes: those are put beside it by the same rules by which the whole package gets them."""
import json
import re
import shutil
import unittest

from installing import BUILD, TreeTest, cached, install_libtorch, program, run
from program import small


@unittest.skipUnless(shutil.which("dpkg-deb") and shutil.which("dpkg-shlibdeps"), "no Debian")
class DebianPackage(TreeTest):
    @classmethod
    def make(cls, tree):
        """Not compressed: what is in the package does not depend on that."""
        run("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", tree / "made",
            "-D", f"CPACK_INSTALL_CMAKE_PROJECTS={BUILD};nightreel;nightreel;/", "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=none")
        (cls.package,) = (tree / "made").glob("*.deb")
        cls.root = tree / "root"
        run("dpkg-deb", "-x", cls.package, cls.root)
        if cached("NIGHTREEL_BUNDLE_TORCH") == "ON":
            install_libtorch(cls.root / "usr")

    def fields(self):
        return dict(re.findall(r"^([\w-]+): (.*)$", run("dpkg-deb", "-f", self.package), re.MULTILINE))

    def test_it_says_what_it_needs(self):
        fields = self.fields()
        self.assertEqual(fields["Package"], "nightreel")
        self.assertEqual(self.package.name, f"nightreel_{fields['Version']}_{fields['Architecture']}.deb")
        needs = {each.split()[0] for each in fields["Depends"].split(", ")}
        self.assertLessEqual({"redis-server", "openmpi-bin", "libc6", "libstdc++6"}, needs)
        for library in ("libhiredis", "libopenmpi", "libavcodec", "libhdf5", "libjpeg62-turbo", "libutf8proc", "libwebpdemux", "zlib1g"):
            self.assertTrue(any(each.startswith(library) for each in needs), f"{library} in {needs}")
        for field in ("Maintainer", "Section", "Description", "Installed-Size"):
            self.assertTrue(fields.get(field), field)

    def test_it_holds_what_a_package_must(self):
        listing = [line.split(maxsplit=5) for line in run("dpkg-deb", "-c", self.package).splitlines()]
        self.assertEqual({words[1] for words in listing}, {"root/root"})
        self.assertEqual([words[5] for words in listing if words[0][8] == "w" and words[0][0] != "l"], [], "for all to write")
        self.assertEqual({words[5].split("/")[1] for words in listing} - {""}, {"usr"})
        control = self.tree / "control"
        run("dpkg-deb", "-e", self.package, control)
        for name in ("postinst", "postrm"):
            self.assertTrue((control / name).stat().st_mode & 0o111, name)
        self.assertIn("usr/bin/nightreel", (control / "md5sums").read_text())

    def test_it_runs_from_where_it_is_unpacked(self):
        root = self.root
        copyright_ = (root / "usr/share/doc/nightreel/copyright").read_text()
        for word in ("x264", "GNU General Public License", "Apache-2.0"):
            self.assertIn(word, copyright_)
        self.assertIn("ExecStart=/usr/share/nightreel/scripts/nightly/night.sh",
                      (root / "usr/lib/systemd/system/nightreel-night.service").read_text())
        ended = self.call(root / "usr/bin/nightreel", "version", "--json")
        self.assert_ended(ended, 0)
        self.assertTrue(json.loads(ended.out)["nightreel"].startswith(self.fields()["Version"]))
        ended = self.call(root / "usr/bin/nightreel", "run", self.write_jobs(small("a")), "--out", self.out, "--model",
                          root / "usr/share/nightreel/models/shapes", "--threads", 1)
        self.assert_ended(ended, 0)
        self.assertTrue((self.out / "videos/a.mp4").exists())


if __name__ == "__main__":
    program.main()

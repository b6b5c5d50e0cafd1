"""nccl.cpp, unmodified, over the stand-in for NCCL between processes: every verb, and members that are late, hang, die
or fail at each of their calls. Whatever happens, each member ends at its deadline with a reason, and never alone."""
import concurrent.futures
import subprocess

from gpu_host import preloaded
import program
from program import BUILD

MEMBER = BUILD / "bin/nccl_member"
DEADLINE = 5000  # ms, of faults
AMPLE = 120_000  # ms: reached by a hang alone


class Members(program.ProgramTest):
    def start(self, size, deadline, fault="", gpus=None):
        """Processes that meet, one a GPU."""
        def environment(rank):
            return preloaded("computing", STAND_IN_FOLDER=str(self.folder), STAND_IN_NCCL_FAULT=fault,
                             CUDA_VISIBLE_DEVICES=(gpus or [f"GPU-{n}" for n in range(size)])[rank],
                             OMP_NUM_THREADS="1")

        address = subprocess.run([MEMBER, "address"], env=environment(0), capture_output=True, text=True,
                                 check=True).stdout.strip()
        members = [subprocess.Popen([MEMBER, "verbs", address, str(rank), str(size), str(deadline)],
                                    env=environment(rank), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)
                   for rank in range(size)]
        for member in members:
            self.assertEqual(member.stdout.readline(), "ready\n")
        for member in members:
            member.stdin.write("\n")
            member.stdin.flush()
        return [program.finish(member, 240) for member in members]

    def test_every_verb_among_two_three_and_four(self):
        for size in (2, 3, 4):
            with self.subTest(size=size):
                for ended in self.start(size, AMPLE):
                    self.assertEqual((ended.code, ended.out), (0, "right\n"), ended.said)
                left = [path for path in self.folder.glob("nccl-*")]
                self.assertEqual(left, [], "messages were left behind")

    def test_a_late_member_is_waited_for(self):
        for call in (1, 2, 6):
            with self.subTest(call=call):
                for ended in self.start(2, AMPLE, f"late:1:{call}:300"):
                    self.assertEqual((ended.code, ended.out), (0, "right\n"), ended.said)

    def test_who_hangs_dies_or_fails_ends_the_others_at_their_deadline(self):
        faults = [("hangs", 1), ("hangs", 3), ("dies", 1), ("dies", 2), ("dies", 5), ("fails", 1), ("fails", 4)]
        with concurrent.futures.ThreadPoolExecutor(len(faults)) as pool:
            groups = [pool.submit(self.start, 2, DEADLINE, f"{what}:1:{call}") for what, call in faults]
        for (what, call), group in zip(faults, groups):
            with self.subTest(what=what, call=call):
                first, second = group.result()
                self.assertEqual(first.code, 1, first.said)
                self.assertRegex(first.out, r"^comm: nccl, rank 0 of 2, .*not finished within 5000 ms")
                if what == "dies":
                    self.assertEqual(second.code, -9, second.said)
                else:
                    self.assertEqual(second.code, 1, second.said)
                    self.assertRegex(second.out, "^comm: nccl, rank 1 of 2, ")

    def test_two_members_on_one_gpu_are_refused(self):
        for ended in self.start(2, AMPLE, gpus=["GPU-0", "GPU-0"]):
            self.assertEqual(ended.code, 1, ended.said)
            self.assertIn("Duplicate GPU detected", ended.out)


if __name__ == "__main__":
    program.main()

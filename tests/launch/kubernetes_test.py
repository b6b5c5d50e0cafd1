"""scripts/k8s-mpijob/: every overlay rendered and held against the MPIJob's schema and against itself; the pods' scripts
executed as a normal user between two network namespaces.
"""
import copy
import os
import shutil
import signal
import subprocess
import unittest

import yaml

from launching import LaunchTest, SCRIPTS, SOURCE, program
import pods
import schema_check

FOLDER = SCRIPTS / "k8s-mpijob"
OVERLAYS = ("base", "overlays/single-node", "overlays/many-nodes", "overlays/cpu-demo")
RANKS = {"base": 16, "overlays/single-node": 8, "overlays/many-nodes": 64, "overlays/cpu-demo": 2}
MADE_BY_HAND = {("Secret", "nightreel-redis")}  # docs/kubernetes.md
GPU = "nvidia.com/gpu"


def render(overlay):
    tool = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    done = subprocess.run([*tool, FOLDER / overlay], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{overlay}: {done.stderr}")
    return list(yaml.safe_load_all(done.stdout))


def pod_specs(resource):
    """(name, template) of every pod that it starts."""
    kind, spec = resource["kind"], resource.get("spec", {})
    if kind == "MPIJob":
        return [(name, replica["template"]) for name, replica in spec["mpiReplicaSpecs"].items()]
    if kind == "CronJob":
        return [(kind, spec["jobTemplate"]["spec"]["template"])]
    return [(kind, spec["template"])] if kind == "Deployment" else []


@unittest.skipUnless(shutil.which("kubectl") or shutil.which("kustomize"), "neither kubectl nor kustomize is installed")
class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rendered = {overlay: render(overlay) for overlay in OVERLAYS}
        cls.jobs = {overlay: next(r for r in all_of if r["kind"] == "MPIJob") for overlay, all_of in cls.rendered.items()}

    def each(self):
        return [(overlay, resources, self.jobs[overlay]) for overlay, resources in self.rendered.items()]

    def test_mpijobs_and_all_pods_fit_the_schema(self):
        schema = schema_check.mpijob_schema()
        pod = schema["properties"]["spec"]["properties"]["mpiReplicaSpecs"]["additionalProperties"]["properties"]["template"]
        for _, resources, job in self.each():
            self.assertEqual(schema_check.faults(job, schema), [])
            for resource in resources:
                for name, template in pod_specs(resource):
                    self.assertEqual(schema_check.faults(template, pod, name), [])

    def test_the_schema_finds_what_is_wrong(self):
        schema = schema_check.mpijob_schema()
        for path, value, part in ((("spec", "slotsPerWorker"), "8", "slotsPerWorker"),
                                  (("spec", "mpiImplementation"), "OpenMpi", "none of"),
                                  (("spec", "cleanPodPolicy"), "Running", "unknown"),
                                  (("spec", "mpiReplicaSpecs", "Worker", "template", "spec", "containers", 0, "envs"), [],
                                   "unknown")):
            job = copy.deepcopy(self.jobs["base"])
            place = job
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
            self.assertIn(part, "\n".join(schema_check.faults(job, schema)))

    def test_every_name_that_is_used_is_there(self):
        for overlay, resources, _ in self.each():
            there = {(r["kind"], r["metadata"]["name"]) for r in resources} | MADE_BY_HAND
            for resource in resources:
                self.assertIn(resource["metadata"].get("namespace", "nightreel"), "nightreel")
                for _, template in pod_specs(resource):
                    spec = template["spec"]
                    used = {("ServiceAccount", spec["serviceAccountName"])}
                    volumes = {}
                    for volume in spec.get("volumes", []):
                        volumes[volume["name"]] = volume
                        for key, kind, field in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"),
                                                 ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName")):
                            if key in volume:
                                used.add((kind, volume[key][field]))
                    self.assertLessEqual(used, there, overlay)
                    for container in spec["containers"]:
                        self.assertLessEqual({mount["name"] for mount in container["volumeMounts"]}, volumes.keys())

    def test_what_the_operator_and_the_exit_codes_need(self):
        for overlay, _, job in self.each():
            spec, replicas = job["spec"], job["spec"]["mpiReplicaSpecs"]
            self.assertEqual(spec["runPolicy"]["cleanPodPolicy"], "Running")
            self.assertGreaterEqual(spec["runPolicy"]["backoffLimit"], 1, "75 asks for another start")
            self.assertIn("activeDeadlineSeconds", spec["runPolicy"])
            ranked = {**replicas} if spec.get("runLauncherAsWorker") else {"Worker": replicas["Worker"]}
            self.assertEqual(sum(r["replicas"] * spec["slotsPerWorker"] for r in ranked.values()), RANKS[overlay])
            for name, replica in replicas.items():
                pod = replica["template"]["spec"]
                limits = pod["containers"][0]["resources"]["limits"]
                gpus = spec["slotsPerWorker"] if name in ranked and overlay != "overlays/cpu-demo" else None
                self.assertEqual(limits.get(GPU), gpus, "slotsPerWorker is the GPUs of a worker")
                self.assertEqual(pod["securityContext"]["runAsNonRoot"], True)
                self.assertEqual(replica["restartPolicy"], "Never")
                names = [variable["name"] for variable in pod["containers"][0]["env"]]
                self.assertEqual(len(names), len(set(names)))
            if spec["launcherCreationPolicy"] == "WaitForWorkersReady":
                worker = replicas["Worker"]["template"]["spec"]
                self.assertIn("readinessProbe", worker["containers"][0])
                self.assertIn("activeDeadlineSeconds", worker)

    def test_network_policies_speak_of_the_pods(self):
        for _, resources, job in self.each():
            labels = [template["metadata"]["labels"].items() for r in resources for _, template in pod_specs(r)]
            for policy in (r for r in resources if r["kind"] == "NetworkPolicy"):
                for selector in (policy["spec"]["podSelector"], policy["spec"]["ingress"][0]["from"][0]["podSelector"]):
                    self.assertTrue(any(selector["matchLabels"].items() <= each for each in labels), selector)

    def test_the_scripts_that_the_pods_start_are_here_and_executable(self):
        for _, _, job in self.each():
            for _, template in pod_specs(job):
                (command,) = template["spec"]["containers"][0]["command"]
                self.assertTrue(os.access(SOURCE / command.removeprefix("/opt/nightreel/"), os.X_OK), command)


class TheNight(LaunchTest):
    def test_a_job_that_has_not_finished_is_not_started_again(self):
        for conditions, code, replaced in (("", 3, False), ("Succeeded", 0, True), ("Failed", 0, True)):
            with self.subTest(conditions):
                seen = self.folder / "seen"
                seen.unlink(missing_ok=True)
                self.script("kubectl", f'echo "$@" >>{seen}', 'case "$*" in',
                            f'  *jsonpath*{conditions or "none"}*) printf True ;;',
                            '  replace*) cat >/dev/null ;;', '  *"-o yaml"*) echo kind: MPIJob ;;', 'esac')
                ended = self.call("sh", FOLDER / "base/night.sh", PATH=f"{self.folder}/tools:{os.environ['PATH']}")
                self.assert_ended(ended, code)
                self.assertEqual("replace --force -f -" in seen.read_text(), replaced)


@unittest.skipIf(pods.missing(), pods.missing())
class TwoPods(LaunchTest):
    """The operator is not here: the host file, the keys and the names are as it makes them."""

    def setUp(self):
        super().setUp()
        self.folder.chmod(0o755)
        self.pods = pods.TwoPods(self.folder)
        self.addCleanup(self.pods.stop)
        self.out.mkdir(mode=0o777)
        self.out.chmod(0o777)
        self.last_words = self.pods.home / "termination-log"

    def launcher(self, hosts, *arguments, **more):
        hostfile = self.folder / "hostfile"
        hostfile.write_text(hosts)
        environment = self.environment(LAUNCH_HOSTFILE=str(hostfile), LAUNCH_TERMINATION_LOG=str(self.last_words),
                                       OMPI_MCA_orte_keep_fqdn_hostnames="true",
                                       OMPI_MCA_plm_rsh_args="-o ConnectionAttempts=10", **more)
        return self.pods.start(0, FOLDER / "launcher.sh", *arguments, **environment)

    def test_a_worker_that_never_answers_is_named(self):
        ended = program.finish(self.launcher(f"{self.pods.NAMES[1]} slots=2\n", "x.jsonl", LAUNCH_WAIT_SECONDS="1"))
        self.assert_ended(ended, 3)
        self.assertIn(f"{self.pods.NAMES[1]} did not answer on port 2222 within 1 s", self.last_words.read_text())

    def test_launcher_and_worker_stopped_and_started_again(self):
        worker = self.pods.start(1, FOLDER / "worker.sh")
        line, jobs = f"{self.pods.NAMES[1]} slots=2\n", self.jobs()
        launcher = self.launcher(line, jobs)
        self.wait_for_first(launcher)
        launcher.send_signal(signal.SIGTERM)
        self.assert_ended(program.finish(launcher), 75)
        self.assertTrue(self.last_words.read_text().startswith("exit code 75, stopped early"), self.last_words.read_text())
        self.assert_ended(program.finish(self.launcher(line, jobs)), 0)
        self.assertEqual(len(self.videos()), 6)
        self.assertEqual({rank["host"] for rank in self.summaries()[-1]["ranks"]}, {self.pods.HOSTS[1]})
        self.assertIsNone(worker.poll())

    def test_a_launcher_that_is_the_only_worker_needs_no_sshd(self):
        ended = program.finish(self.launcher(f"{self.pods.NAMES[0]} slots=2\n", self.write_jobs(self.small("a"))))
        self.assert_ended(ended, 0)
        self.assertEqual([rank["host"] for rank in self.summaries()[0]["ranks"]], [self.pods.HOSTS[0]] * 2)


if __name__ == "__main__":
    program.main()

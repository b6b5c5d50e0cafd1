"""scripts/k8s-mpijob/: every overlay rendered and held against the MPIJob's schema, Kubernetes' own, and itself; the pods'
scripts executed as a normal user between two and three network namespaces.
"""
import copy
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import unittest

import kubernetes_validate
import yaml

from launching import BINDS, LaunchTest, NIGHTREEL, SCRIPTS, SHAPES, SOURCE, finish, program, side_by_side, until
import pods
import schema_check

FOLDER = SCRIPTS / "k8s-mpijob"
OVERLAYS = ("base", "overlays/single-node", "overlays/many-nodes", "overlays/cpu-demo")
RANKS = {"base": 16, "overlays/single-node": 8, "overlays/many-nodes": 64, "overlays/cpu-demo": 2}
MADE_BY_HAND = {("Secret", "nightreel-redis")}  # docs/kubernetes.md
GPU = "nvidia.com/gpu"
load_tests = side_by_side.loader(threads=3)
# It reads megabytes of definitions for each thing that it validates.
kubernetes_validate.utils.schema_contents = functools.lru_cache(None)(kubernetes_validate.utils.schema_contents)
KUBERNETES = ("1.25", "1.32", "1.37")  # the oldest that kubernetes-validate knows, one between, the newest


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

    def test_all_but_mpijobs_and_all_pods_fit_kubernetes_own_schemas(self):
        """Strictly: a field that it does not know is a fault. Kubernetes has no schema for an MPIJob, but for its pods."""
        different = {}  # most of what an overlay holds is the base's
        for _, resources, _ in self.each():
            for resource in resources:
                named = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name.lower(), **template["metadata"]},
                          "spec": {"restartPolicy": "Never", **template["spec"]}} for name, template in pod_specs(resource)]
                for fitting in named + ([] if resource["kind"] == "MPIJob" else [resource]):
                    different[json.dumps(fitting, sort_keys=True)] = fitting
        for fitting in different.values():
            for version in KUBERNETES:
                kubernetes_validate.validate(fitting, version, strict=True)
        self.assertGreaterEqual({fitting["kind"] for fitting in different.values()}, {"Pod", "CronJob", "Deployment", "NetworkPolicy", "Role", "ConfigMap",
                                        "PersistentVolumeClaim", "Service"})

    def test_kubernetes_schemas_find_what_is_wrong(self):
        cron = next(r for r in self.rendered["base"] if r["kind"] == "CronJob")
        for field, value in (("schedules", "0 20 * * *"), ("schedule", 20), ("concurrencyPolicy", 1)):
            wrong = copy.deepcopy(cron)
            wrong["spec"][field] = value
            with self.assertRaises(kubernetes_validate.ValidationError, msg=field):
                kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)

    def test_scripts_within_the_manifests_pass_shellcheck(self):
        found = 0
        for resource in self.rendered["base"]:
            for _, template in pod_specs(resource):
                for container in template["spec"]["containers"]:
                    probe = container.get("readinessProbe", {}).get("exec", {}).get("command", [])
                    for words in (container.get("command", []) + container.get("args", []), probe):
                        if words[:2] == ["sh", "-ceu"]:
                            found += 1
                            done = subprocess.run(["shellcheck", "-s", "sh", "-"], input=words[2], capture_output=True, text=True)
                            self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(found, 2, "Redis' start and its readiness")

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

    def test_what_clusters_and_their_queues_need(self):
        for overlay, resources, job in self.each():
            self.assertIn("kueue.x-k8s.io/queue-name", job["metadata"]["labels"])
            for name, template in pod_specs(job):
                pod = template["spec"]
                (container,) = pod["containers"]
                if GPU in container["resources"]["limits"]:
                    self.assertIn(GPU, [each["key"] for each in pod["tolerations"]], f"{overlay} {name}")
                (shm,) = [volume for volume in pod["volumes"] if volume["name"] == "shm"]
                self.assertEqual(shm["emptyDir"]["medium"], "Memory")
                self.assertIn({"name": "shm", "mountPath": "/dev/shm"}, container["volumeMounts"])
                self.assertEqual(pod["securityContext"]["runAsUser"], 1000)
            claims = {each["metadata"]["name"]: each["spec"]["accessModes"] for each in resources
                      if each["kind"] == "PersistentVolumeClaim"}
            self.assertEqual(claims, {"nightreel-models": ["ReadWriteMany"], "nightreel-videos": ["ReadWriteMany"],
                                      "nightreel-redis": ["ReadWriteOnce"]})
            (nights,) = [each for each in resources if each["kind"] == "CronJob"]
            self.assertEqual(nights["spec"]["concurrencyPolicy"], "Forbid", "two nights never overlap")

    def test_network_policies_speak_of_the_pods(self):
        for _, resources, job in self.each():
            labels = [template["metadata"]["labels"].items() for r in resources for _, template in pod_specs(r)]
            policies = [r["spec"] for r in resources if r["kind"] == "NetworkPolicy"]
            selectors = [policy["podSelector"] for policy in policies if policy["podSelector"]]
            for policy in policies:
                for rule, peers in (("ingress", "from"), ("egress", "to")):
                    selectors += [peer["podSelector"] for one in policy.get(rule, []) for peer in one.get(peers, [])]
            for selector in selectors:
                self.assertTrue(any(selector["matchLabels"].items() <= each for each in labels), selector)

    def test_nothing_goes_in_or_out_but_what_is_named(self):
        for _, resources, _ in self.each():
            policies = {r["metadata"]["name"]: r["spec"] for r in resources if r["kind"] == "NetworkPolicy"}
            everything = policies.pop("nightreel-nothing-else")
            self.assertEqual(everything, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
            for policy in policies.values():
                self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
            self.assertNotIn("egress", policies["nightreel-redis"])
            labels = {template["metadata"]["labels"]["app.kubernetes.io/name"] for r in resources for _, template in pod_specs(r)}
            chosen = {policy["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for policy in policies.values()}
            self.assertEqual(chosen, labels, "every pod has a policy of its own")

    def test_pods_fit_pod_security_restricted(self):
        """https://kubernetes.io/docs/concepts/security/pod-security-standards/, as far as these manifests say anything."""
        for overlay, resources, _ in self.each():
            (namespace,) = [r for r in resources if r["kind"] == "Namespace"]
            self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
            for resource in resources:
                for name, template in pod_specs(resource):
                    spec = template["spec"]
                    with self.subTest(overlay=overlay, pod=name):
                        self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & spec.keys())
                        self.assertEqual(spec["securityContext"]["runAsNonRoot"], True)
                        self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                        self.assertGreater(spec["securityContext"]["runAsUser"], 0)
                        kinds = {key for volume in spec["volumes"] for key in volume if key != "name"}
                        self.assertLessEqual(kinds, {"configMap", "emptyDir", "secret", "persistentVolumeClaim"})
                        for container in spec["containers"]:
                            held = container["securityContext"]
                            self.assertEqual(held["allowPrivilegeEscalation"], False)
                            self.assertEqual(held["capabilities"], {"drop": ["ALL"]})
                            self.assertFalse({"privileged", "procMount"} & held.keys())
                            self.assertFalse([port for port in container.get("ports", []) if "hostPort" in port])

    def test_redis_refuses_what_its_pod_cannot_hold(self):
        limit = next(template["spec"]["containers"][0]["resources"]["limits"]["memory"] for r in self.rendered["base"]
                     if r["kind"] == "Deployment" for _, template in pod_specs(r))
        self.assertEqual(limit, "1Gi")
        settings = (FOLDER / "base/redis.conf").read_text()
        self.assertRegex(settings, r"(?m)^maxmemory [1-8]\d\dmb$")

    def test_the_scripts_that_the_pods_start_are_here_and_executable(self):
        for _, _, job in self.each():
            for _, template in pod_specs(job):
                (command,) = template["spec"]["containers"][0]["command"]
                self.assertTrue(os.access(SOURCE / command.removeprefix("/opt/nightreel/"), os.X_OK), command)


class TheRedisPod(LaunchTest):
    def test_its_words_start_a_server_with_the_password_and_lasting_data(self):
        """The pod's own command and probe, with its folders moved into the test's."""
        (deployment,) = [part for part in yaml.safe_load_all((FOLDER / "base/redis.yaml").read_text())
                         if part["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]

        def here(words):
            for there in ("/etc/redis", "/run/redis", "/secret"):
                words = [word.replace(there, f"{self.folder}{there}") for word in words]
            return [word.replace("redis-cli", f"redis-cli -p {port}") for word in words]
        for name in ("etc/redis", "run/redis", "secret", "data"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "secret/password").write_text("a secret of 17 b")
        settings = (FOLDER / "base/redis.conf").read_text().replace("/data", f"{self.folder}/data")
        (self.folder / "etc/redis/redis.conf").write_text(f"{settings}port {port}\nbind 127.0.0.1\n")
        probe = here(container["readinessProbe"]["exec"]["command"])
        self.assertNotEqual(self.call(*probe).code, 0, "nothing is there yet")
        server = self.start(*here(container["command"] + container["args"]))
        self.assertTrue(until(lambda: self.call(*probe).code == 0 or server.poll() is not None))
        self.assertIsNone(server.poll())
        cli = ["redis-cli", "-p", port]
        self.assertIn("NOAUTH", self.call(*cli, "get", "a").out)
        for words, told in ((("set", "a", "b"), "OK"), (("config", "get", "maxmemory-policy"), "noeviction"),
                            (("config", "get", "appendfsync"), "always")):
            self.assertIn(told, self.call(*cli, *words, REDISCLI_AUTH="a secret of 17 b").out)
        self.assertTrue(any((self.folder / "data").rglob("*.aof")))
        self.assertEqual((self.folder / "run/redis/redis.conf").stat().st_mode & 0o077, 0)


# A cluster that holds one MPIJob and what is kept of it, as files in $CLUSTER; what it is asked goes to $CLUSTER/seen.
KUBECTL = """cd "$CLUSTER"
echo "$*" >>seen
case "$*" in
  *--ignore-not-found) [ ! -e mpijob ] || echo mpijob/nightreel ;;
  *jsonpath*type==*) case $* in *"$(cat ended)"*) printf True ;; esac ;;
  "get mpijob nightreel -o yaml") cat mpijob ;;
  "get configmap nightreel-kept "*) [ ! -e kept ] || cat kept ;;
  "create configmap nightreel-kept "*) for word; do case $word in --from-file=manifest=*) cat "${word##*=}" ;; esac; done ;;
  "get mpijob nightreel -o name") [ -e mpijob ] ;;
  "replace --force -f -") cat >new; rm mpijob; [ ! -e kills ] || { rm kills; kill -9 "$PPID"; }
    [ ! -e refuses ] || exit 1; if [ -s fails ]; then sed -i 1d fails; exit 1; fi; sed '/resourceVersion/d; /uid/d; /^status/,$d' new >mpijob ;;
  "replace -f -") cat >kept ;;
  "create --dry-run=server -f -") cat >asked; [ ! -e refuses ] ;;
  "delete mpijob nightreel "*) rm mpijob; [ ! -e kills ] || { rm kills; kill -9 "$PPID"; } ;;
  "create -f "*) if [ -s fails ]; then sed -i 1d fails; exit 1; fi; cp "$3" mpijob ;;
  *) echo "kubectl: $*" >&2; exit 64 ;;
esac"""
MPIJOB = """apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata:
  name: nightreel
  resourceVersion: "77"
  uid: 0d
spec:
  slotsPerWorker: 8
status:
  conditions: []
"""
MADE_ANEW = MPIJOB.replace('  resourceVersion: "77"\n  uid: 0d\n', "").partition("status:")[0]


class TheNight(LaunchTest):
    def setUp(self):
        super().setUp()
        self.script("kubectl", KUBECTL)
        self.cluster = self.folder / "cluster"
        self.cluster.mkdir()
        self.put(mpijob=MPIJOB, ended="Succeeded")

    def put(self, **files):
        for name, text in files.items():
            (self.cluster / name).write_text(text)

    def night(self, code=0, shell=("sh",)):
        """What the cluster holds afterwards; None: no MPIJob."""
        ended = self.call(*shell, FOLDER / "base/night.sh", PATH=f"{self.folder}/tools:{os.environ['PATH']}",
                          CLUSTER=str(self.cluster), TMPDIR=str(self.folder), LAUNCH_TRIES="5", LAUNCH_PAUSE="0")
        self.assertEqual(ended.code, code, ended.said)
        job = self.cluster / "mpijob"
        return job.read_text() if job.exists() else None

    def test_a_job_that_has_ended_is_made_anew_and_no_other(self):
        for conditions, code, made in (("none", 3, MPIJOB), ("Succeeded", 0, MADE_ANEW), ("Failed", 0, MADE_ANEW)):
            with self.subTest(conditions):
                self.put(mpijob=MPIJOB, ended=conditions)
                self.assertEqual(self.night(code), made)

    def test_one_that_the_cluster_would_refuse_is_not_deleted(self):
        self.put(refuses="")
        self.assertEqual(self.night(1), MPIJOB)
        self.assertIn("name: nightreel-check\n", (self.cluster / "asked").read_text(), "asked under a name that is free")
        self.assertNotIn("delete", (self.cluster / "seen").read_text())

    def test_one_that_cannot_be_made_at_once_is_made_later(self):
        self.put(fails="1\n2\n3\n")
        self.assertEqual(self.night(), MADE_ANEW)

    def test_one_that_cannot_be_made_tonight_is_kept_and_made_the_next_night(self):
        self.put(fails="1\n" * 9)
        self.assertIsNone(self.night(3))
        self.assertEqual((self.cluster / "kept").read_text(), MADE_ANEW)
        self.put(fails="")
        self.assertEqual(self.night(), MADE_ANEW)

    def test_a_pod_that_is_killed_between_deleting_and_making_loses_nothing(self):
        self.put(kills="")
        self.assertIsNone(self.night(-signal.SIGKILL))
        self.assertEqual(self.night(), MADE_ANEW)

    def test_where_there_is_neither_a_job_nor_one_that_was_kept_it_says_so(self):
        (self.cluster / "mpijob").unlink()
        self.assertIsNone(self.night(3))


@unittest.skipIf(pods.missing(), pods.missing())
class SeveralPods(LaunchTest):
    """The operator is not here: the host file, the keys and the names are as it makes them."""
    COUNT = 2

    def setUp(self):
        super().setUp()
        self.folder.chmod(0o755)
        self.pods = pods.Pods(self.folder, self.COUNT)
        self.addCleanup(self.pods.stop)
        self.out.mkdir(mode=0o777)
        self.out.chmod(0o777)
        self._quick.parent.chmod(0o777)
        self.last_words = self.pods.home / "termination-log"

    def launcher(self, hosts, *arguments, **more):
        hostfile = self.folder / "hostfile"
        hostfile.write_text(hosts)
        environment = self.environment(LAUNCH_HOSTFILE=str(hostfile), LAUNCH_TERMINATION_LOG=str(self.last_words),
                                       OMPI_MCA_orte_keep_fqdn_hostnames="true",
                                       OMPI_MCA_plm_rsh_args="-o ConnectionAttempts=10", **more)
        return self.pods.start(0, FOLDER / "launcher.sh", *arguments, **environment)

    def workers(self):
        return [self.pods.start(pod, FOLDER / "worker.sh") for pod in range(1, self.COUNT)]

    def ask_status(self):
        """The private Redis is that of the pods' user."""
        return finish(self.pods.start(0, NIGHTREEL, "status", "--json", "--all", "--out", self.out))

    def hosts_of_last_run(self):
        return [rank["host"] for rank in self.summaries()[-1]["ranks"]]

    def assert_last_words(self, code):
        self.assertTrue(self.last_words.read_text().startswith(f"exit code {code}, "), self.last_words.read_text())


class TwoPods(SeveralPods):
    def setUp(self):
        super().setUp()
        self.line = f"{self.pods.names[1]} slots=2\n"

    def test_a_worker_that_never_answers_is_named(self):
        ended = finish(self.launcher(self.line, "x.jsonl", LAUNCH_WAIT_SECONDS="1"))
        self.assert_ended(ended, 3)
        self.assertIn(f"{self.pods.names[1]} did not answer on port 2222 within 1 s", self.last_words.read_text())

    def test_launcher_and_worker_stopped_and_started_again(self):
        (worker,) = self.workers()
        jobs = self.jobs()
        launcher = self.launcher(self.line, jobs)
        self.wait_for_first(launcher)
        launcher.send_signal(signal.SIGTERM)
        self.assert_ended(finish(launcher), 75)
        self.assert_last_words("75")
        self.assert_ended(finish(self.launcher(self.line, jobs)), 0)
        self.assert_each_once()
        self.assertEqual(self.hosts_of_last_run(), [self.pods.hosts[1]] * 2)
        self.assertIsNone(worker.poll())

    def test_codes_of_the_run_arrive_unchanged(self):
        self.workers()
        fails = self.write_jobs(self.small("a", prompt="step_ms=0 at=denoise:1 times=9 do=fail:renderer", max_attempts=1))
        good = self.write_jobs(self.small("b"), name="good.jsonl")
        for code, arguments, more in ((1, [fails], {}), (3, [good], {"NIGHTREEL_MODEL": "/nowhere"}),
                                      (2, [self.write_jobs({"promt": "x"}, name="bad.jsonl")], {}),
                                      # the hosts file names two, mpirun starts one
                                      (3, [good], {"LAUNCH_MPIRUN_OPTIONS": "-np 1"})):
            with self.subTest(code=code, **more):
                ended = finish(self.launcher(self.line, *arguments, **more))
                self.assert_ended(ended, code)
                self.assert_last_words(code)
        self.assertIn("--expect-ranks 2, but MPI started 1 rank", ended.log)

    def test_ranks_are_bound_to_nothing(self):
        self.workers()
        self.assert_ended(finish(self.launcher(self.line, "x.jsonl", LAUNCH_PROGRAM=str(self.spy()), **BINDS)), 0)
        self.assert_bound_to_nothing(2)

    def test_a_launcher_that_is_the_only_worker_needs_no_sshd(self):
        ended = finish(self.launcher(f"{self.pods.names[0]} slots=2\n", self.write_jobs(self.small("a"))))
        self.assert_ended(ended, 0)
        self.assertEqual(self.hosts_of_last_run(), [self.pods.hosts[0]] * 2)


class ThreePods(SeveralPods):
    """A launcher and two workers that reach each other over the network only."""
    COUNT = 3

    def setUp(self):
        super().setUp()
        self.line = "".join(f"{name} slots=1\n" for name in self.pods.names[1:])

    def test_the_model_is_rendered_by_two_workers(self):
        self.with_the_model()
        self.workers()
        jobs = self.write_jobs(*map(self.small, "abcd"))
        self.assert_ended(finish(self.launcher(self.line, jobs)), 0)
        self.assertEqual(self.videos(), list("abcd"))
        self.assertEqual(self.hosts_of_last_run(), self.pods.hosts[1:])
        made = {json.loads(file.read_text())["host"] for file in self.out.glob("videos/*.json")}
        self.assertLessEqual(made, set(self.pods.hosts[1:]))

    def test_a_worker_that_is_gone_ends_the_run_and_the_next_start_goes_on(self):
        jobs = self.write_jobs(self.small("first"), *map(self.caught, "abc"), self.small("last"))
        how = {"REDIS_URL": self.pods.redis(), "NIGHTREEL_LEASE": "5"}
        self.workers()
        launcher = self.launcher(self.line, jobs, **how)
        self.wait_for_caught(2)
        self.pods.kill(2)
        self.assertNotIn(finish(launcher).code, (0, 75))
        self.assertTrue(self.last_words.read_text())
        self.let_go("abc")
        self.pods.start(2, FOLDER / "worker.sh")
        self.assert_ended(finish(self.launcher(self.line, jobs, **how)), 0)
        self.assertEqual(self.videos(), ["a", "b", "c", "first", "last"])

    def hosts(self):
        hosts = self.folder / "hosts.mpirun"
        hosts.write_text(self.line)
        return hosts

    def ssh(self):
        words = f"-p 2222 -l mpiuser -i {self.pods.home}/.ssh/id_rsa -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        return self.script("ssh-there", f'exec ssh {words} -o LogLevel=ERROR -o ConnectionAttempts=20 "$@"')

    def test_doctor_looks_at_two_hosts(self):
        self.workers()
        ended = finish(self.pods.start(
            0, "mpirun", "--mca", "plm_rsh_agent", self.ssh(), "--hostfile", self.hosts(), "-np", 2, "--bind-to", "none",
            NIGHTREEL.resolve(), "doctor", "--json", "--device", "cpu", "--model", SHAPES, "--out", self.out, "--expect-ranks", 2))
        self.assert_ended(ended, 0)
        report = json.loads(ended.out)
        said = {check["check"]: (check["level"], check["text"]) for check in report["checks"]}
        for check in ("mpi", "ranks", "binding", "clock", "interfaces", "redis", "storage", "one folder", "model", "group"):
            self.assertEqual(said[check][0], "ok", said)
        self.assertIn(f"2 ranks on 2 hosts ({self.pods.hosts[1]}: 1, {self.pods.hosts[2]}: 1)", said["mpi"][1])
        self.assertIn("every host reaches the others", said["interfaces"][1])
        self.assertIn(f"2 renderers met over the store at {self.pods.address(1)}, ", said["group"][1])
        self.assertEqual([(rank["host"], rank["local_rank"]) for rank in report["ranks"]], [(host, 0) for host in self.pods.hosts[1:]])

    def test_bare_metal_with_a_host_file_of_two_other_hosts(self):
        """scripts/mpirun/run.sh between the same hosts; its ssh words come from LAUNCH_MPIRUN_OPTIONS."""
        self.workers()
        hosts = self.hosts()
        jobs = self.jobs()
        how = self.environment(LAUNCH_HOSTFILE=str(hosts), LAUNCH_MPIRUN_OPTIONS=f"--mca plm_rsh_agent {self.ssh()}")
        first = self.pods.start(0, SCRIPTS / "mpirun/run.sh", jobs, **how)
        self.wait_for_first(first)
        first.send_signal(signal.SIGTERM)
        self.assert_ended(finish(first), 75)
        self.assert_ended(finish(self.pods.start(0, SCRIPTS / "mpirun/run.sh", jobs, **how)), 0)
        self.assert_each_once()
        self.assertEqual(self.hosts_of_last_run(), self.pods.hosts[1:])


if __name__ == "__main__":
    program.main()

"""Apache Kafka itself (KRaft, every broker is a controller as well), from its jars, on loopback ports of its own."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

from confluent_kafka.admin import AdminClient

from driftloop.kafka.admin import BrokerError, wait_for_broker
from driftloop.kafka.embedded import free_port

ROOT = Path(__file__).parents[2]
POM = ROOT / "scripts" / "kafka" / "pom.xml"
CACHE = ROOT / ".cache" / "kafka"
CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"

_LOG4J = """
Configuration:
  Appenders:
    Console: {name: out, PatternLayout: {pattern: "%d %p %m (%c)%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: out}}
"""

_PROPERTIES = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
delete.topic.enable=true
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=3
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=300
log.cleaner.backoff.ms=200
log.retention.check.interval.ms=1000
num.network.threads=2
num.io.threads=4
"""


#: The versions of the broker's features, as formatting wrote them in this process: nothing, or one file's bytes.
_formatted: list[bytes] = []


class KafkaUnavailable(RuntimeError):
    """Apache Kafka cannot be had on this machine; the message says why."""


def kafka_jars() -> Path:
    """Folder of the broker's jars, fetched by Maven on first use. Raises :class:`KafkaUnavailable`."""
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    jars = CACHE / hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    if jars.is_dir() and "java" not in missing:
        return jars
    if missing:
        raise KafkaUnavailable(f"{' and '.join(missing)} not found: Apache Kafka needs Java 17 and Maven")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may start at once
        if jars.is_dir():
            return jars
        partial = CACHE / f"{jars.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, "-DincludeScope=runtime", f"-DoutputDirectory={partial}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            raise KafkaUnavailable(f"Maven could not fetch Apache Kafka: {(done.stdout + done.stderr)[-2000:]}")
        partial.rename(jars)
    return jars


class ApacheKafka:
    """One broker with a folder and ports that stay the same when it is stopped and started again."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        node: int = 1,
        controllers: dict[int, int] | None = None,
        more_properties: str = "",
    ) -> None:
        """``controllers``: node id to controller port of every node of the cluster; default: this one alone.
        ``more_properties`` win over the usual ones; ``{port}`` and ``{controller_port}`` in them are filled in."""
        self.folder = folder
        self.port = port or free_port()
        self.node = node
        self._controllers = controllers or {node: free_port()}
        self._more_properties = more_properties
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        return self.folder / "broker.log"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 60.0) -> ApacheKafka:
        """Returns when the broker answers; on the first start the storage is formatted."""
        self.launch()
        self.wait(timeout_s)
        return self

    def launch(self) -> None:
        """Start the process, formatting the storage if it is new; :meth:`wait` waits for it."""
        assert not self.alive, "the broker runs already"
        jars = kafka_jars()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(jars)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._java(jars, "kafka.Kafka", str(self._properties)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait until the broker answers."""
        for remaining in reversed(range(int(timeout_s))):
            try:
                wait_for_broker({"bootstrap.servers": self.bootstrap}, 1.0)
            except BrokerError as error:
                if not self.alive or not remaining:
                    self.kill()
                    raise RuntimeError(f"Apache Kafka did not come up; its log ends:\n{self._log_tail()}") from error
            else:
                break

    def stop(self, grace_s: float = 20.0) -> None:
        """Shuts the broker down in order; by force after ``grace_s``. What it holds stays in the folder."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, as in a crash."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _format(self, jars: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = _PROPERTIES.format(
            port=self.port,
            node=self.node,
            controller_port=self._controllers[self.node],
            voters=",".join(f"{node}@127.0.0.1:{port}" for node, port in self._controllers.items()),
            folder=self.folder,
            replicas=min(3, len(self._controllers)),
            in_sync=min(2, len(self._controllers)),
        ) + self._more_properties.format(port=self.port, controller_port=self._controllers[self.node])
        self._properties.write_text(text, "utf-8")
        (self.folder / "log4j2.yaml").write_text(_LOG4J, "utf-8")
        data = self.folder / "data"
        # Java takes longer to start than to format, and it formats all alike: once in a test run is enough.
        if not _formatted:
            self._run_storage_tool(jars)
            _formatted.append((data / "bootstrap.checkpoint").read_bytes())
            return
        data.mkdir()
        (data / "bootstrap.checkpoint").write_bytes(_formatted[0])
        directory_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        (data / "meta.properties").write_text(
            f"version=1\ncluster.id={CLUSTER_ID}\nnode.id={self.node}\ndirectory.id={directory_id}\n", "utf-8"
        )

    def _run_storage_tool(self, jars: Path) -> None:
        arguments = ["format", "--cluster-id", CLUSTER_ID, "--config", str(self._properties)]
        done = subprocess.run(
            self._java(jars, "kafka.tools.StorageTool", *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"cannot format Kafka's storage: {(done.stdout + done.stderr)[-2000:]}")

    def _java(self, jars: Path, main: str, *arguments: str) -> list[str]:
        return [
            "java",
            "-Xms128m",
            "-Xmx512m" if len(self._controllers) == 1 else "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
            # Half of the processor time of a start goes into optimizing what runs for a minute or two.
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}",
            "-cp",
            f"{jars}/*",
            main,
            *arguments,
        ]

    def _log_tail(self) -> str:
        return self.log_file.read_bytes()[-4000:].decode("utf-8", "replace")


class KafkaCluster:
    """Three brokers, each a controller as well; any one of them may be away."""

    def __init__(self, folder: Path, brokers: int = 3) -> None:
        controllers = {node: free_port() for node in range(1, brokers + 1)}
        self.brokers = {
            node: ApacheKafka(folder / f"broker-{node}", node=node, controllers=controllers) for node in controllers
        }

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    def start(self) -> KafkaCluster:
        for broker in self.brokers.values():
            broker.launch()
        for broker in self.brokers.values():
            broker.wait()
        return self

    def kill(self) -> None:
        for broker in self.brokers.values():
            broker.kill()

    def leader(self, topic: str, partition: int) -> int:
        """Node id of the broker that leads a partition."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return int(admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader)

    def coordinator(self, group: str) -> int:
        """Node id of the broker that coordinates a consumer group."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        described = admin.describe_consumer_groups([group], request_timeout=10)[group].result(15)
        return int(described.coordinator.id)

    def in_sync(self, topics: list[str]) -> bool:
        """Whether every replica of the topics is there. The broker that is asked may not know a new topic yet."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        known = admin.list_topics(timeout=10).topics
        return known.keys() >= set(topics) and all(
            len(part.isrs) == len(part.replicas) == min(3, len(self.brokers))
            for topic in topics
            for part in known[topic].partitions.values()
        )

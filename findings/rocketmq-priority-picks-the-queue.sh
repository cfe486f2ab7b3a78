#!/usr/bin/env bash
# A producer of Apache RocketMQ 5.5.0 sets the priority of its messages (Message.setPriority) and sends them
# to queue 0, of a topic with four queues and of a topic with one, at an Apache RocketMQ 5.5.0 broker with
# its default settings.
#
# Expected: a message lands in the queue that the producer chose, for the producer's MessageQueueSelector
#   is what keeps the messages of one key in order; and within a queue the more urgent message is read first.
# Seen: the broker puts a message of priority p into queue min(p, queues - 1), whatever queue the producer
#   chose, and that in a topic of no special type too. Priorities past the last queue share it, and within a
#   queue messages are read in the order sent, whichever end of the scale is meant to be urgent. The send is
#   answered with success; only the queue number in its result tells that the message went elsewhere.
# Why it matters: one producer that begins to set priorities ends the order of its keys, for the messages
#   of one key are spread over queues that different consumers read at the same time. And in a topic with
#   fewer queues than priorities, part of the scale or all of it has no effect that a consumer could see.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
if [ -z "${FINDING_BOUNDED-}" ]; then FINDING_BOUNDED=1 exec timeout 300 bash "$0"; fi
temp=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$temp"' EXIT
cd "$temp"

cat >pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.rocketmq</groupId>
      <artifactId>rocketmq-client</artifactId>
      <version>5.5.0</version>
    </dependency>
    <dependency>
      <groupId>org.apache.rocketmq</groupId>
      <artifactId>rocketmq-broker</artifactId>
      <version>5.5.0</version>
    </dependency>
    <dependency>
      <groupId>org.apache.rocketmq</groupId>
      <artifactId>rocketmq-namesrv</artifactId>
      <version>5.5.0</version>
    </dependency>
  </dependencies>
</project>
XML
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory=lib >mvn.log 2>&1 || { cat mvn.log; exit 1; }

cat >Priority.java <<'JAVA'
import java.net.ServerSocket;
import java.util.*;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.*;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.message.*;
import org.apache.rocketmq.common.namesrv.NamesrvConfig;
import org.apache.rocketmq.namesrv.NamesrvController;
import org.apache.rocketmq.remoting.netty.*;
import org.apache.rocketmq.store.config.MessageStoreConfig;

public class Priority {
  static String home;
  static String names;
  static DefaultMQProducer producer;

  public static void main(String[] args) {
    int status = 1;
    try {
      home = args[0];
      startNameServer();
      startBroker();
      producer = new DefaultMQProducer("producers");
      producer.setNamesrvAddr(names);
      producer.start();
      run("four", 4);
      run("one", 1);
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static void run(String topic, int queues) throws Exception {
    createTopic(topic, queues);
    List<MessageQueue> all = producer.fetchPublishMessageQueues(topic);
    for (int priority : new int[] {0, 3, 9, 5, 1}) {
      Message message = new Message(topic, ("priority " + priority).getBytes());
      message.setPriority(priority);
      SendResult sent = producer.send(message, (among, ignored, arg) -> queue(among, 0), null);
      System.out.println("> topic of " + queues + ": priority " + priority + " sent to queue 0: "
          + sent.getSendStatus() + ", queue " + sent.getMessageQueue().getQueueId());
    }
    MessageQueue last = queue(all, queues - 1);
    DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("readers-of-" + topic);
    consumer.setNamesrvAddr(names);
    consumer.start();
    consumer.assign(List.of(last));
    consumer.seekToBegin(last);
    List<String> read = new ArrayList<>();
    int wanted = queues == 1 ? 5 : 3;
    for (int polls = 0; polls < 20 && read.size() < wanted; polls++)
      for (MessageExt message : consumer.poll(1000)) read.add(new String(message.getBody()));
    System.out.println("> topic of " + queues + ": read from queue " + last.getQueueId() + ": " + read);
    consumer.shutdown();
  }

  static MessageQueue queue(List<MessageQueue> among, int id) {
    return among.stream().filter(queue -> queue.getQueueId() == id).findFirst().orElseThrow();
  }

  /** The broker tells the name server of its topics some seconds after its start. */
  static void createTopic(String topic, int queues) throws Exception {
    long end = System.currentTimeMillis() + 60_000;
    while (true) {
      try {
        producer.createTopic("TBW102", topic, queues, null);
        while (producer.fetchPublishMessageQueues(topic).size() < queues) Thread.sleep(200);
        return;
      } catch (MQClientException early) {
        if (System.currentTimeMillis() > end) throw early;
        Thread.sleep(500);
      }
    }
  }

  static void startNameServer() throws Exception {
    NamesrvConfig config = new NamesrvConfig();
    config.setRocketmqHome(home);
    config.setKvConfigPath(home + "/kv.json");
    NettyServerConfig server = new NettyServerConfig();
    server.setBindAddress("127.0.0.1");
    server.setListenPort(freePort());
    NamesrvController controller = new NamesrvController(config, server, new NettyClientConfig());
    if (!controller.initialize()) throw new IllegalStateException("the name server does not start");
    controller.start();
    names = "127.0.0.1:" + server.getListenPort();
  }

  /** Only places, addresses and file sizes are set: no setting of how messages are treated. */
  static void startBroker() throws Exception {
    BrokerConfig config = new BrokerConfig();
    config.setRocketmqHome(home);
    config.setNamesrvAddr(names);
    config.setBrokerIP1("127.0.0.1");
    config.setBrokerIP2("127.0.0.1");
    NettyServerConfig server = new NettyServerConfig();
    server.setBindAddress("127.0.0.1");
    // The broker listens on the port two below this one too.
    server.setListenPort(freePort());
    config.setListenPort(server.getListenPort());
    MessageStoreConfig store = new MessageStoreConfig();
    store.setStorePathRootDir(home + "/store");
    store.setStorePathCommitLog(home + "/store/commitlog");
    store.setMappedFileSizeCommitLog(16 << 20);
    store.setHaListenPort(freePort());
    BrokerController broker = new BrokerController(config, server, new NettyClientConfig(), store);
    if (!broker.initialize()) throw new IllegalStateException("the broker does not start");
    broker.start();
  }

  static int freePort() throws Exception {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }
}
JAVA
mkdir home
{
  for name in client broker namesrv; do basename lib/rocketmq-$name-5*.jar .jar; done
  timeout 150 java -Xmx512m -XX:MaxDirectMemorySize=512m -Duser.home="$temp/home" -cp 'lib/*' \
    Priority.java "$temp/home" >java.log 2>&1 || { grep -v '|-' java.log >&2; exit 1; }
  sed -n 's/^> //p' java.log
} | tee seen

cat >expected <<'TEXT'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
topic of 4: priority 0 sent to queue 0: SEND_OK, queue 0
topic of 4: priority 3 sent to queue 0: SEND_OK, queue 3
topic of 4: priority 9 sent to queue 0: SEND_OK, queue 3
topic of 4: priority 5 sent to queue 0: SEND_OK, queue 3
topic of 4: priority 1 sent to queue 0: SEND_OK, queue 1
topic of 4: read from queue 3: [priority 3, priority 9, priority 5]
topic of 1: priority 0 sent to queue 0: SEND_OK, queue 0
topic of 1: priority 3 sent to queue 0: SEND_OK, queue 0
topic of 1: priority 9 sent to queue 0: SEND_OK, queue 0
topic of 1: priority 5 sent to queue 0: SEND_OK, queue 0
topic of 1: priority 1 sent to queue 0: SEND_OK, queue 0
topic of 1: read from queue 0: [priority 0, priority 3, priority 9, priority 5, priority 1]
TEXT
diff -u expected seen || { echo 'the behaviour has changed'; exit 1; }
echo 'seen as described'

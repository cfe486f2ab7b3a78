#!/usr/bin/env bash
# Two push consumers of Apache RocketMQ 5.5.0 with their defaults, one of a clustering group and one
# broadcasting, start before their topic exists at an Apache RocketMQ 5.5.0 broker with its default settings,
# which creates topics on first use. A producer then sends ten messages, and further ones until both have
# begun to receive.
#
# Expected: both treat the first ten alike. Their setting says CONSUME_FROM_LAST_OFFSET, so neither gets
#   them, or, since both subscribed before anything was sent, both do.
# Seen: the clustering consumer gets all ten. The broadcasting one gets none, and nothing says so: it looks for
#   the topic every 30 s, and starts at the end of each queue as it then is. The clustering one asks the broker
#   where to start, which answers 0 for a group without a place on a young queue, whatever the setting.
# Why it matters: a system that starts its consumers first and creates topics by first use works in a
#   clustering group. Broadcasting, it misses what was sent in the first half minute, and only in a fresh
#   installation, for afterwards the topic is there: the fault hides from every later test.
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

cat >First.java <<'JAVA'
import java.net.ServerSocket;
import java.util.*;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.*;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.message.*;
import org.apache.rocketmq.common.namesrv.NamesrvConfig;
import org.apache.rocketmq.namesrv.NamesrvController;
import org.apache.rocketmq.remoting.netty.*;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.store.config.MessageStoreConfig;

public class First {
  static final String TOPIC = "young";
  static final List<MessageModel> MODELS = List.of(MessageModel.CLUSTERING, MessageModel.BROADCASTING);
  static String home;
  static String names;

  public static void main(String[] args) {
    int status = 1;
    try {
      home = args[0];
      startNameServer();
      startBroker();
      run();
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static void run() throws Exception {
    DefaultMQProducer producer = new DefaultMQProducer("producers");
    producer.setNamesrvAddr(names);
    producer.start();
    untilBrokerIsKnown(producer);
    Map<MessageModel, Set<String>> got = new EnumMap<>(MessageModel.class);
    for (MessageModel model : MODELS) got.put(model, consume(model));
    for (int i = 0; i < 10; i++) send(producer, "first " + i);
    long end = System.currentTimeMillis() + 90_000;
    for (int i = 0; got.values().stream().anyMatch(bodies -> count(bodies, "later") == 0); i++) {
      if (System.currentTimeMillis() > end) throw new IllegalStateException("nothing came: " + got);
      send(producer, "later " + i);
      Thread.sleep(500);
    }
    // Whatever is on its way has come by then.
    Thread.sleep(3000);
    for (MessageModel model : MODELS)
      System.out.println("> " + model + ": " + count(got.get(model), "first") + " of the first 10");
  }

  static Set<String> consume(MessageModel model) throws Exception {
    Set<String> bodies = ConcurrentHashMap.newKeySet();
    DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("group-" + model);
    consumer.setNamesrvAddr(names);
    // Two clients of one process need names of their own.
    consumer.setInstanceName("instance-" + model);
    consumer.setMessageModel(model);
    consumer.subscribe(TOPIC, "*");
    consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
      for (MessageExt message : messages) bodies.add(new String(message.getBody()));
      return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    });
    System.out.println("> " + model + " starts, " + consumer.getConsumeFromWhere());
    consumer.start();
    return bodies;
  }

  static long count(Set<String> bodies, String kind) {
    return bodies.stream().filter(body -> body.startsWith(kind)).count();
  }

  static void send(DefaultMQProducer producer, String body) throws Exception {
    producer.send(new Message(TOPIC, body.getBytes()));
  }

  /** The broker tells the name server of its topics some seconds after its start. */
  static void untilBrokerIsKnown(DefaultMQProducer producer) throws Exception {
    long end = System.currentTimeMillis() + 60_000;
    while (true) {
      try {
        producer.fetchPublishMessageQueues("TBW102");
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
  timeout 200 java -Xmx512m -XX:MaxDirectMemorySize=512m -Duser.home="$temp/home" -cp 'lib/*' \
    First.java "$temp/home" >java.log 2>&1 || { grep -v '|-' java.log >&2; exit 1; }
  sed -n 's/^> //p' java.log
} | tee seen

cat >expected <<'TEXT'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
CLUSTERING starts, CONSUME_FROM_LAST_OFFSET
BROADCASTING starts, CONSUME_FROM_LAST_OFFSET
CLUSTERING: 10 of the first 10
BROADCASTING: 0 of the first 10
TEXT
diff -u expected seen || { echo 'the behaviour has changed'; exit 1; }
echo 'seen as described'

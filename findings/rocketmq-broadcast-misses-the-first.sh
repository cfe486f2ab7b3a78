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
. "$(dirname "$0")/support.sh"

rocketmq_jars

cat >First.java <<'JAVA'
import java.util.*;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.*;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.*;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

public class First {
  static final String TOPIC = "young";
  static final List<MessageModel> MODELS = List.of(MessageModel.CLUSTERING, MessageModel.BROADCASTING);
  static String names;

  public static void main(String[] args) {
    int status = 1;
    try {
      names = RocketMq.start(args[0]);
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
}
JAVA
rocketmq_run First.java | tee seen

as_described <<'TEXT'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
CLUSTERING starts, CONSUME_FROM_LAST_OFFSET
BROADCASTING starts, CONSUME_FROM_LAST_OFFSET
CLUSTERING: 10 of the first 10
BROADCASTING: 0 of the first 10
TEXT

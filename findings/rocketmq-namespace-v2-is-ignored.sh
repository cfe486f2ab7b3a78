#!/usr/bin/env bash
# Two teams share a topic's name and a group's name in Apache RocketMQ 5.5.0, each in a namespace of its own:
# once with setNamespaceV2 of the Java client 5.5.0, once with setNamespace, which that client calls
# deprecated. The broker has its default settings.
#
# Expected: what the blue team sends is not for the green team, with either of them.
# Seen: with setNamespaceV2 the green team's consumer gets the blue team's message and commits it, and the blue
#   team's consumer then gets nothing. The client puts the namespace into two fields of each request (nsd, ns),
#   and the broker of the same release never looks at them: topics, groups and offsets are all shared.
#   Nothing warns. With setNamespace, which puts the name into those of topics and groups, it is as expected.
# Why it matters: tests of one team cannot show it, and the change from the deprecated setter to the new one is
#   one of two characters. From then on the teams take messages from each other, with every send and
#   acknowledgement answered by success; what was unread lies in topics that are read no longer. It has been
#   reported of 5.3.1 (issue 9341 of apache/rocketmq).
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

rocketmq_jars

cat >Namespaces.java <<'JAVA'
import java.util.*;
import java.util.function.BiConsumer;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.*;

public class Namespaces {
  static String names;

  public static void main(String[] args) {
    int status = 1;
    try {
      names = RocketMq.start(args[0]);
      run("setNamespace", "orders", ClientConfig::setNamespace);
      run("setNamespaceV2", "orders-v2", ClientConfig::setNamespaceV2);
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static void run(String setter, String topic, BiConsumer<ClientConfig, String> enter) throws Exception {
    DefaultMQProducer producer = new DefaultMQProducer("producers");
    producer.setNamesrvAddr(names);
    enter.accept(producer, "blue");
    producer.start();
    send(producer, topic);
    System.out.println("> " + setter + ", the workers of green read " + read(topic, "green", enter));
    System.out.println("> " + setter + ", the workers of blue read " + read(topic, "blue", enter));
    producer.shutdown();
  }

  /** The broker tells the name server of itself some seconds after its start. */
  static void send(DefaultMQProducer producer, String topic) throws Exception {
    long end = System.currentTimeMillis() + 60_000;
    while (true) {
      try {
        producer.send(new Message(topic, "for blue".getBytes()));
        return;
      } catch (MQClientException early) {
        if (System.currentTimeMillis() > end) throw early;
        Thread.sleep(500);
      }
    }
  }

  /** For 15 seconds, with the place of the group kept. */
  static List<String> read(String topic, String namespace, BiConsumer<ClientConfig, String> enter)
      throws Exception {
    DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("workers");
    consumer.setNamesrvAddr(names);
    consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
    enter.accept(consumer, namespace);
    consumer.subscribe(topic, "*");
    consumer.start();
    List<String> read = new ArrayList<>();
    for (int polls = 0; polls < 15; polls++)
      for (MessageExt message : consumer.poll(1000)) read.add(new String(message.getBody()));
    consumer.commit();
    consumer.shutdown();
    return read;
  }
}
JAVA

rocketmq_run Namespaces.java | tee seen

as_described <<'TEXT'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
setNamespace, the workers of green read []
setNamespace, the workers of blue read [for blue]
setNamespaceV2, the workers of green read [for blue]
setNamespaceV2, the workers of blue read []
TEXT

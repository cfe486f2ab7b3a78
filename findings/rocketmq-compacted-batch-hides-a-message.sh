#!/usr/bin/env bash
# A producer of Apache RocketMQ 5.5.0 sends to a topic with cleanup.policy=COMPACTION, which keeps the newest
# message of each key, at a broker of 5.5.0 with its default settings: a message without a key, alone and in a
# batch with one that has a key.
#
# Expected: the batch is refused for it, as the message alone is, or it is there for consumers.
# Seen: alone it is refused (code 13, "Required message key is missing"). In the batch both are acknowledged with
#   SEND_OK, an id and an offset each, and no consumer ever gets the one without a key: of offsets 0, 1 and 2 it
#   reads 0 and 2.
# Why it matters: whoever batches state into a compacted topic for speed has lost what was acknowledged, and
#   only a reader that counts offsets can tell.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

rocketmq_jars

cat >Compacted.java <<'JAVA'
import java.util.*;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.exception.*;
import org.apache.rocketmq.client.producer.*;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.*;

public class Compacted {
  static DefaultMQProducer producer;

  public static void main(String[] args) {
    int status = 1;
    try {
      String names = RocketMq.start(args[0]);
      producer = new DefaultMQProducer("producers");
      producer.setNamesrvAddr(names);
      producer.start();
      createTopic("states");
      try {
        System.out.println("> alone, without a key: " + producer.send(message("alone", null)).getSendStatus());
      } catch (MQBrokerException refused) {
        System.out.println("> alone, without a key: refused with code " + refused.getResponseCode());
      }
      SendResult sent = producer.send(List.of(message("first", "a"), message("second", null), message("third", "b")));
      System.out.println("> a batch of three, the second without a key: " + sent.getSendStatus() + ", "
          + sent.getMsgId().split(",").length + " ids, from offset " + sent.getQueueOffset() + " on");
      System.out.println("> read: " + read(names));
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static Message message(String body, String key) {
    Message message = new Message("states", body.getBytes());
    if (key != null) message.setKeys(key);
    return message;
  }

  /** Until the third is there, and for some seconds more. */
  static List<String> read(String names) throws Exception {
    DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("readers");
    consumer.setNamesrvAddr(names);
    consumer.start();
    MessageQueue queue = producer.fetchPublishMessageQueues("states").get(0);
    consumer.assign(List.of(queue));
    consumer.seekToBegin(queue);
    List<String> read = new ArrayList<>();
    int pollsAfter = 0;
    for (int polls = 0; polls < 60 && pollsAfter < 5; polls++) {
      for (MessageExt message : consumer.poll(1000))
        read.add(new String(message.getBody()) + " at offset " + message.getQueueOffset());
      if (read.stream().anyMatch(one -> one.startsWith("third"))) pollsAfter++;
    }
    consumer.shutdown();
    return read;
  }

  /** The broker tells the name server of its topics some seconds after its start. */
  static void createTopic(String topic) throws Exception {
    long end = System.currentTimeMillis() + 60_000;
    while (true) {
      try {
        var client = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
        var route = client.getTopicRouteInfoFromNameServer("TBW102", 3_000);
        String broker = route.getBrokerDatas().get(0).getBrokerAddrs().get(0L);
        TopicConfig config = new TopicConfig(topic, 1, 1);
        config.setAttributes(Map.of("+cleanup.policy", "COMPACTION"));
        client.createTopic(broker, "TBW102", config, 5_000);
        break;
      } catch (MQClientException early) {
        if (System.currentTimeMillis() > end) throw early;
        Thread.sleep(500);
      }
    }
    while (true) {
      try {
        if (!producer.fetchPublishMessageQueues(topic).isEmpty()) return;
      } catch (MQClientException early) {
        if (System.currentTimeMillis() > end) throw early;
      }
      Thread.sleep(200);
    }
  }
}
JAVA

rocketmq_run Compacted.java | tee seen

as_described <<'EXPECTED'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
alone, without a key: refused with code 13
a batch of three, the second without a key: SEND_OK, 3 ids, from offset 0 on
read: [first at offset 0, third at offset 2]
EXPECTED

#!/usr/bin/env bash
# Delayed messages wait in Apache RocketMQ 5.5.0 with its default settings, by a time (setDelayTimeMs) and by a
# level (setDelayTimeLevel), one of each for every queue of a topic. All that was sent without a delay has been
# consumed, so the topic is given two queues in place of four, before the delays are over.
#
# Expected: a delayed message becomes one of the topic when its time comes, so its queue is one that the topic
#   has then.
# Seen: each goes into the queue whose number was chosen when it was sent. Those of the queues that are gone were
#   acknowledged long ago, are stored in time, and reach no consumer, for none is given such a queue. There is no
#   error and no dead letter. When the topic has four queues again they come.
# Why it matters: to take queues away one stops writes to them, waits until consumers are at their ends, and takes them
#   away. The ends say nothing of delayed messages, which may lie up to three days ahead.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

rocketmq_jars

cat >Shrink.java <<'JAVA'
import java.util.*;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.function.Consumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.*;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.*;

public class Shrink {
  static final Set<String> got = new ConcurrentSkipListSet<>();
  static String names;
  static DefaultMQProducer producer;

  public static void main(String[] args) {
    int status = 1;
    try {
      names = RocketMq.start(args[0]);
      producer = new DefaultMQProducer("producers");
      producer.setNamesrvAddr(names);
      producer.start();
      run();
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static void run() throws Exception {
    giveQueues(4);
    consume();
    for (int queue = 0; queue < 4; queue++) send("plain", queue, message -> {});
    told("4 queues, plain messages", 4);

    got.clear();
    for (int queue = 0; queue < 4; queue++) {
      send("by time", queue, message -> message.setDelayTimeMs(30_000));
      send("by level", queue, message -> message.setDelayTimeLevel(4));
    }
    giveQueues(2);
    // Level 4 is 30 seconds too.
    Thread.sleep(45_000);
    told("2 queues, delayed messages", 4);
    giveQueues(4);
    told("4 queues again, delayed messages", 8);
  }

  static void consume() throws Exception {
    DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("workers");
    consumer.setNamesrvAddr(names);
    consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
    consumer.setPollNameServerInterval(1_000);
    consumer.subscribe("orders", "*");
    consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
      for (MessageExt message : messages) got.add(new String(message.getBody()));
      return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    });
    consumer.start();
  }

  static void send(String kind, int queue, Consumer<Message> delay) throws Exception {
    Message message = new Message("orders", (queue + " " + kind).getBytes());
    delay.accept(message);
    producer.send(message, (all, ignored, arg) ->
        all.stream().filter(one -> one.getQueueId() == queue).findFirst().orElseThrow(), null);
  }

  /** What has come, once it is so many or after 40 seconds. */
  static void told(String when, int count) throws Exception {
    for (int tenths = 0; tenths < 400 && got.size() < count; tenths++) Thread.sleep(100);
    System.out.println("> " + when + ": " + got);
  }

  /** The broker tells the name server of its topics some seconds after its start. */
  static void giveQueues(int queues) throws Exception {
    long end = System.currentTimeMillis() + 60_000;
    while (true) {
      try {
        var client = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
        var route = client.getTopicRouteInfoFromNameServer("TBW102", 3_000);
        String broker = route.getBrokerDatas().get(0).getBrokerAddrs().get(0L);
        client.createTopic(broker, "TBW102", new TopicConfig("orders", queues, queues), 5_000);
        break;
      } catch (MQClientException early) {
        if (System.currentTimeMillis() > end) throw early;
        Thread.sleep(500);
      }
    }
    while (true) {
      try {
        if (producer.fetchPublishMessageQueues("orders").size() == queues) return;
      } catch (MQClientException early) {
        if (System.currentTimeMillis() > end) throw early;
      }
      Thread.sleep(200);
    }
  }
}
JAVA

rocketmq_run Shrink.java | tee seen

as_described <<'TEXT'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
4 queues, plain messages: [0 plain, 1 plain, 2 plain, 3 plain]
2 queues, delayed messages: [0 by level, 0 by time, 1 by level, 1 by time]
4 queues again, delayed messages: [0 by level, 0 by time, 1 by level, 1 by time, 2 by level, 2 by time, 3 by level, 3 by time]
TEXT

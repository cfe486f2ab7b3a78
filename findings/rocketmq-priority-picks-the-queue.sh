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
. "$(dirname "$0")/support.sh"

rocketmq_jars

cat >Priority.java <<'JAVA'
import java.util.*;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.*;
import org.apache.rocketmq.common.message.*;

public class Priority {
  static String names;
  static DefaultMQProducer producer;

  public static void main(String[] args) {
    int status = 1;
    try {
      names = RocketMq.start(args[0]);
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
}
JAVA
rocketmq_run Priority.java | tee seen

as_described <<'TEXT'
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

#!/usr/bin/env bash
# An operator of Apache RocketMQ 5.5.0 with its default settings changes one thing of a topic (its message type)
# and one of a group (its retry queues) with mqadmin: updateTopic -a, updateSubGroup -q.
#
# Expected: what is not named stays as it is: the commands are called update, all options but the name and the
#   broker are optional, and the attributes of `-a` are added to those that are there.
# Seen: all that is not named becomes what a new topic or group has, apart from the attributes. A read-only topic
#   of 16 queues has 8 and may be written again, and the unread messages of the other 8 queues are out of
#   reach of consumers. A group that an operator had stopped consumes again, with 16 retries instead of 3.
#   Both commands print success.
# Why it matters: each is done to a running system, to change one small thing, and what it undoes is noticed late.
#   Give all options each time; updateTopicPerm keeps the numbers of queues.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

rocketmq_jars client broker namesrv tools

cat >Update.java <<'JAVA'
import java.util.*;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.*;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.*;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

public class Update {
  static String names, broker;
  static DefaultMQAdminExt admin;

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
    admin = new DefaultMQAdminExt();
    admin.setNamesrvAddr(names);
    admin.start();
    long end = System.currentTimeMillis() + 60_000;
    while (broker == null && System.currentTimeMillis() < end) {
      broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().values().stream()
          .map(data -> data.getBrokerAddrs().get(MixAll.MASTER_ID)).findFirst().orElse(null);
      if (broker == null) Thread.sleep(100);
    }

    mqadmin("updateTopic", "-t", "orders", "-r", "16", "-w", "16");
    fillQueues();
    mqadmin("updateTopic", "-t", "orders", "-r", "16", "-w", "16", "-p", "4");
    topic("made");
    mqadmin("updateTopic", "-t", "orders", "-a", "+message.type=FIFO");
    topic("updateTopic -a +message.type=FIFO");
    mqadmin("updateTopic", "-t", "orders", "-p", "4");
    topic("updateTopic -p 4");
    System.out.println("> consumers of the topic get " + read() + " of 16 messages");

    mqadmin("updateSubGroup", "-g", "workers", "-s", "false", "-r", "3");
    group("stopped");
    mqadmin("updateSubGroup", "-g", "workers", "-q", "2");
    group("updateSubGroup -q 2");
  }

  static void mqadmin(String command, String... options) {
    List<String> line = new ArrayList<>(List.of(command, "-n", names, "-b", broker));
    line.addAll(List.of(options));
    MQAdminStartup.main0(line.toArray(new String[0]), null);
    // What it prints may end in the middle of a line.
    System.out.println();
  }

  static void topic(String after) throws Exception {
    TopicConfig topic = admin.examineTopicConfig(broker, "orders");
    System.out.println("> topic, " + after + ": read " + topic.getReadQueueNums() + ", write "
        + topic.getWriteQueueNums() + ", perm " + topic.getPerm() + ", " + topic.getAttributes());
  }

  static void group(String after) throws Exception {
    SubscriptionGroupConfig group = admin.examineSubscriptionGroupConfig(broker, "workers");
    System.out.println("> group, " + after + ": consumeEnable " + group.isConsumeEnable() + ", retryMaxTimes "
        + group.getRetryMaxTimes() + ", retryQueueNums " + group.getRetryQueueNums());
  }

  /** One message in each queue. */
  static void fillQueues() throws Exception {
    DefaultMQProducer producer = new DefaultMQProducer("producers");
    producer.setNamesrvAddr(names);
    producer.start();
    for (int queue = 0; queue < 16; queue++) {
      int id = queue;
      producer.send(new Message("orders", "hello".getBytes()), (all, message, arg) ->
          all.stream().filter(one -> one.getQueueId() == id).findFirst().orElseThrow(), null);
    }
    producer.shutdown();
  }

  /** Until nothing has come for 5 seconds. */
  static int read() throws Exception {
    DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("readers");
    consumer.setNamesrvAddr(names);
    consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
    consumer.subscribe("orders", "*");
    consumer.start();
    int read = 0;
    for (int polls = 0, empty = 0; polls < 60 && (read == 0 || empty < 5); polls++) {
      int count = consumer.poll(1000).size();
      read += count;
      empty = count == 0 ? empty + 1 : 0;
    }
    consumer.shutdown();
    return read;
  }
}
JAVA

rocketmq_run Update.java | tee seen

as_described <<'TEXT'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
topic, made: read 16, write 16, perm 4, {}
topic, updateTopic -a +message.type=FIFO: read 8, write 8, perm 6, {message.type=FIFO}
topic, updateTopic -p 4: read 8, write 8, perm 4, {message.type=FIFO}
consumers of the topic get 8 of 16 messages
group, stopped: consumeEnable false, retryMaxTimes 3, retryQueueNums 1
group, updateSubGroup -q 2: consumeEnable true, retryMaxTimes 16, retryQueueNums 2
TEXT

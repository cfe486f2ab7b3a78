#!/usr/bin/env bash
# An Apache RocketMQ broker of 5.5.0 with its default settings is made read-only while it runs, by
# brokerPermission=4 ("mqadmin updateBrokerConfig -k brokerPermission -v 4"). It has an ordinary topic, and one
# that is marked as ordered.
#
# Expected: the broker refuses what is sent to it, as it does in an ordered topic.
# Seen: only the ordered topic refuses (code 16, "the broker[...] sending message is forbidden"). In the ordinary
#   one the broker goes on to answer SEND_OK. All that keeps messages away is the route, which says 4 at once: a
#   producer that has the route sends on until it asks again, 30 seconds at most, and one that names the queue
#   (send(message, queue)) sends on after that, also one that starts after the change.
# Why it matters: the broker is taken for drained as soon as its consumers have no lag, and what was acknowledged
#   after that is switched off with it. Watch its own count of messages put instead.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

rocketmq_jars

cat >ReadOnly.java <<'JAVA'
import java.util.*;
import org.apache.rocketmq.client.exception.*;
import org.apache.rocketmq.client.producer.*;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.*;

public class ReadOnly {
  interface Sending {
    SendResult send() throws Exception;
  }

  static String names;
  static DefaultMQProducer producer;

  public static void main(String[] args) {
    int status = 1;
    try {
      names = RocketMq.start(args[0]);
      producer = started("producers");
      String broker = createTopic("plain", false);
      createTopic("ordered", true);
      List<String> topics = List.of("plain", "ordered");
      for (String topic : topics) say(topic, () -> producer.send(message(topic)));
      var client = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
      Properties readOnly = new Properties();
      readOnly.setProperty("brokerPermission", "4");
      client.updateBrokerConfig(broker, readOnly, 5_000);
      String now = client.getBrokerConfig(broker, 5_000).getProperty("brokerPermission");
      System.out.println("> the broker's permission is " + now);
      for (String topic : topics) {
        int perm = client.getTopicRouteInfoFromNameServer(topic, 3_000).getQueueDatas().get(0).getPerm();
        System.out.println("> the permission of " + topic + " in its route is " + perm);
      }
      for (String topic : topics) say(topic + ", with the route of before", () -> producer.send(message(topic)));
      DefaultMQProducer late = started("late");
      say("plain, a new producer", () -> late.send(message("plain")));
      MessageQueue queue = new MessageQueue("plain", client.getBrokerClusterInfo(3_000).getBrokerAddrTable()
          .keySet().iterator().next(), 0);
      say("plain, a new producer to the queue 0", () -> late.send(message("plain"), queue));
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static Message message(String topic) {
    return new Message(topic, "body".getBytes());
  }

  static DefaultMQProducer started(String group) throws Exception {
    DefaultMQProducer producer = new DefaultMQProducer(group);
    producer.setInstanceName(group);
    producer.setNamesrvAddr(names);
    producer.start();
    return producer;
  }

  static void say(String what, Sending sending) throws Exception {
    String answer;
    try {
      answer = sending.send().getSendStatus().toString();
    } catch (MQClientException failed) {
      boolean isRefused = failed.getCause() instanceof MQBrokerException;
      answer = isRefused
          ? "refused with code " + ((MQBrokerException) failed.getCause()).getResponseCode()
          : "not sent: " + failed.getErrorMessage().split("[,:\\n]")[0];
    }
    System.out.println("> " + what + ": " + answer);
  }

  /** @return the broker's address, which it tells the name server some seconds after its start */
  static String createTopic(String topic, boolean isOrdered) throws Exception {
    long end = System.currentTimeMillis() + 60_000;
    String broker = null;
    while (true) {
      try {
        var client = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
        if (broker == null) {
          var route = client.getTopicRouteInfoFromNameServer("TBW102", 3_000);
          String address = route.getBrokerDatas().get(0).getBrokerAddrs().get(0L);
          TopicConfig config = new TopicConfig(topic, 1, 1);
          config.setOrder(isOrdered);
          client.createTopic(address, "TBW102", config, 5_000);
          broker = address;
        }
        if (!producer.fetchPublishMessageQueues(topic).isEmpty()) return broker;
      } catch (MQClientException early) {
        if (System.currentTimeMillis() > end) throw early;
      }
      Thread.sleep(500);
    }
  }
}
JAVA

rocketmq_run ReadOnly.java | tee seen

as_described <<'EXPECTED'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
plain: SEND_OK
ordered: SEND_OK
the broker's permission is 4
the permission of plain in its route is 4
the permission of ordered in its route is 4
plain, with the route of before: SEND_OK
ordered, with the route of before: refused with code 16
plain, a new producer: not sent: No route info of this topic
plain, a new producer to the queue 0: SEND_OK
EXPECTED

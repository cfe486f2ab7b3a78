#!/usr/bin/env bash
# A producer of Apache RocketMQ 5.5.0 sends two requests with a RequestCallback
# (DefaultMQProducer.request(message, callback, timeout)), one to a responder that replies, one to none, at an
# Apache RocketMQ 5.5.0 broker with its default settings.
#
# Expected: onSuccess is called once, with the reply; without a reply onException is called once. So it is with
#   the blocking request(message, timeout), which returns the reply or throws RequestTimeoutException.
# Seen: onSuccess is called with null as soon as the broker has stored the request, and a second time with the
#   reply. Without a reply it is called with null, and onException follows with the time-out.
# Why it matters: a callback that uses its argument fails with a NullPointerException on a thread of the client,
#   one that counts calls or completes a future with the first takes every request for answered with nothing.
#   It has to ignore a null reply; where nothing replies only onException is the end.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

rocketmq_jars

cat >Request.java <<'JAVA'
import java.util.concurrent.*;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.*;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.*;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.*;

public class Request {
  static String names;
  static DefaultMQProducer producer;
  /** The responder waits for it, so that the order of what is seen is no chance. */
  static final CountDownLatch called = new CountDownLatch(1);

  public static void main(String[] args) {
    int status = 1;
    try {
      names = RocketMq.start(args[0]);
      producer = new DefaultMQProducer("requesters");
      producer.setNamesrvAddr(names);
      producer.start();
      createTopic("answered");
      createTopic("unanswered");
      respond();
      ask("answered", 60_000);
      ask("unanswered", 5_000);
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static void ask(String topic, long timeoutMs) throws Exception {
    CountDownLatch twice = new CountDownLatch(2);
    producer.request(new Message(topic, "question".getBytes()), new RequestCallback() {
      public void onSuccess(Message reply) {
        System.out.println("> " + topic + ": onSuccess with "
            + (reply == null ? "null" : new String(reply.getBody())));
        called.countDown();
        twice.countDown();
      }

      public void onException(Throwable error) {
        System.out.println("> " + topic + ": onException with " + error.getClass().getSimpleName());
        twice.countDown();
      }
    }, timeoutMs);
    if (!twice.await(90, TimeUnit.SECONDS)) System.out.println("> " + topic + ": no second call");
  }

  static void respond() throws Exception {
    DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("responders");
    consumer.setNamesrvAddr(names);
    consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
    consumer.subscribe("answered", "*");
    consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
      try {
        called.await();
        for (MessageExt message : messages)
          producer.send(MessageUtil.createReplyMessage(message, "answer".getBytes()));
      } catch (Exception failure) {
        failure.printStackTrace();
      }
      return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    });
    consumer.start();
  }

  /** The broker tells the name server of its topics some seconds after its start. */
  static void createTopic(String topic) throws Exception {
    long end = System.currentTimeMillis() + 60_000;
    while (true) {
      try {
        producer.createTopic("TBW102", topic, 1, null);
        while (producer.fetchPublishMessageQueues(topic).isEmpty()) Thread.sleep(200);
        return;
      } catch (MQClientException early) {
        if (System.currentTimeMillis() > end) throw early;
        Thread.sleep(500);
      }
    }
  }
}
JAVA
rocketmq_run Request.java | tee seen

as_described <<'TEXT'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
answered: onSuccess with null
answered: onSuccess with answer
unanswered: onSuccess with null
unanswered: onException with RequestTimeoutException
TEXT

#!/usr/bin/env bash
# Two threads send through one producer of Apache RocketMQ's Java client 5.5.0 with setAutoBatch(true), which
# gathers messages that are sent at about the same time into one request: a message of 2,000 bytes and
# one of 4 MiB less 1,000 bytes, to a broker of 5.5.0. Both have their default settings, but for a longer
# batchMaxDelayMs, so that the two always meet.
#
# Expected: both are sent. The setting is about speed, each message is within maxMessageSize (4 MiB), and
#   batchMaxBytes (32 KiB) says how much is gathered.
# Seen: sent one after the other, both are stored. Sent at once, neither is: the size that counts is that of the
#   batch, and a batch is closed after the message that makes it too large and not before. One thread gets
#   the reason (MQClientException, code 13), the other a NullPointerException. So it is with each failure of a
#   batch: all threads but one get a NullPointerException in place of the error.
# Why it matters: whether a message is stored depends on what other threads send in the same 10 ms, and the sender
#   of the small one is told nothing that it could act on: code that sends again after an MQClientException or
#   MQBrokerException, and takes other exceptions for programming errors, loses it.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

rocketmq_jars

cat >Gather.java <<'JAVA'
import java.util.*;
import java.util.concurrent.*;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

public class Gather {
  static final int SMALL = 2_000, LARGE = (4 << 20) - 1_000;
  static final ExecutorService threads = Executors.newFixedThreadPool(2);
  static String names;

  public static void main(String[] args) {
    int status = 1;
    try {
      names = RocketMq.start(args[0]);
      for (boolean autoBatch : new boolean[] {false, true}) run(autoBatch);
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static void run(boolean autoBatch) throws Exception {
    DefaultMQProducer producer = new DefaultMQProducer("producers-" + autoBatch);
    producer.setNamesrvAddr(names);
    producer.setAutoBatch(autoBatch);
    producer.batchMaxDelayMs(4_000);
    // Time for a slow machine; nothing here comes near it.
    producer.setSendMsgTimeout(30_000);
    producer.start();
    long end = System.currentTimeMillis() + 60_000;
    while (!send(producer, 10).equals("SEND_OK") && System.currentTimeMillis() < end) Thread.sleep(500);

    String label = "> autoBatch " + autoBatch + ", ";
    System.out.println(label + "one after the other: " + List.of(send(producer, SMALL), send(producer, LARGE)));
    Future<String> small = threads.submit(() -> send(producer, SMALL));
    Thread.sleep(500);
    Future<String> large = threads.submit(() -> send(producer, LARGE));
    List<String> both = new ArrayList<>(List.of(small.get(), large.get()));
    Collections.sort(both);
    System.out.println(label + "at once: " + both);
    producer.shutdown();
  }

  static String send(DefaultMQProducer producer, int bytes) {
    try {
      return producer.send(new Message("gathered", new byte[bytes])).getSendStatus().toString();
    } catch (MQClientException failure) {
      return "MQClientException " + failure.getResponseCode();
    } catch (Exception failure) {
      return failure.getClass().getSimpleName();
    }
  }
}
JAVA

rocketmq_run Gather.java | tee seen

as_described <<'TEXT'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
autoBatch false, one after the other: [SEND_OK, SEND_OK]
autoBatch false, at once: [SEND_OK, SEND_OK]
autoBatch true, one after the other: [SEND_OK, SEND_OK]
autoBatch true, at once: [MQClientException 13, NullPointerException]
TEXT

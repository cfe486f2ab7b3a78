#!/usr/bin/env bash
# A producer of the Python package rocketmq 0.4.4, which carries RocketMQ's client for C++, sends a message
# "one" and a batch of "b1" and "b2" to an Apache RocketMQ 5.5.0 broker with its default settings. The Java
# client 5.5.0 reads the topic, and sends a batch of two itself.
#
# Expected: each batch becomes its two messages, or is refused.
# Seen: both sends from Python are answered with success. The batch from Python is then one message, whose
#   body is the encoded batch: the lengths, bodies and properties of both. The one from Java is two messages.
#   The C++ client marks a batch by "batch": "1"; the broker reads that field by Boolean.parseBoolean, which
#   takes "true" alone for yes, and so stores the body as that of a plain message.
# Why it matters: no side reports anything. The sender has its success, the queue grows by one, and the
#   consumer gets one message that it cannot read, with the texts between binary lengths. Tags and keys of the
#   batch's messages are only in there, so a consumer that selects by tag gets nothing.
#
# Needs Python 3 with pip and venv, and a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

rocketmq_jars

cat >Read.java <<'JAVA'
import java.util.*;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.*;
import org.apache.rocketmq.common.message.*;

public class Read {
  static String names;
  static DefaultMQProducer producer;

  public static void main(String[] args) {
    int status = 1;
    try {
      names = RocketMq.start(args[0]);
      producer = new DefaultMQProducer("producers");
      producer.setNamesrvAddr(names);
      producer.start();
      createTopic("python");
      createTopic("java");
      runPython();
      SendResult sent = producer.send(List.of(message("b1"), message("b2")));
      System.out.println("> Java, batch of b1 and b2: " + sent.getSendStatus());
      read("python", 2);
      read("java", 2);
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static void runPython() throws Exception {
    Process python = new ProcessBuilder("venv/bin/python", "send.py", names).inheritIO().start();
    if (python.waitFor() != 0) throw new IllegalStateException("the sender in Python failed");
  }

  static Message message(String body) {
    return new Message("java", "tag", body.getBytes());
  }

  static void read(String topic, int wanted) throws Exception {
    DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("readers-of-" + topic);
    consumer.setNamesrvAddr(names);
    consumer.start();
    Collection<MessageQueue> queues = consumer.fetchMessageQueues(topic);
    consumer.assign(queues);
    for (MessageQueue queue : queues) consumer.seekToBegin(queue);
    List<MessageExt> read = new ArrayList<>();
    for (int polls = 0; polls < 20 && read.size() < wanted; polls++) read.addAll(consumer.poll(1000));
    // One more look, for what should not be there.
    read.addAll(consumer.poll(1000));
    read.sort(Comparator.comparing(message -> message.getQueueOffset()));
    for (MessageExt message : read) {
      byte[] body = message.getBody();
      String text = body.length < 10 ? new String(body) : body.length + " bytes that begin with "
          + Arrays.toString(Arrays.copyOf(body, 4)) + " and hold b1 and b2: " + holds(body, "b1", "b2");
      System.out.println("> read from " + topic + ": " + text + ", tag " + message.getTags());
    }
    consumer.shutdown();
  }

  static boolean holds(byte[] body, String... parts) {
    String text = new String(body, java.nio.charset.StandardCharsets.ISO_8859_1);
    return Arrays.stream(parts).allMatch(text::contains);
  }

  /** The broker tells the name server of its topics some seconds after its start. */
  static void createTopic(String topic) throws Exception {
    long end = System.currentTimeMillis() + 60_000;
    while (true) {
      try {
        producer.createTopic("TBW102", topic, 1, null);
        while (producer.fetchPublishMessageQueues(topic).size() < 1) Thread.sleep(200);
        return;
      } catch (MQClientException early) {
        if (System.currentTimeMillis() > end) throw early;
        Thread.sleep(500);
      }
    }
  }
}
JAVA
cat >send.py <<'PYTHON'
import sys
from rocketmq.client import Message, Producer

producer = Producer("python-producers")
producer.set_namesrv_addr(sys.argv[1])
producer.start()


def message(body):
    made = Message("python")
    made.set_tags("tag")
    made.set_body(body)
    return made


print("> Python, one:", producer.send_sync(message("one")).status.name, flush=True)
batch = producer.send_batch([message("b1"), message("b2")])
print("> Python, batch of b1 and b2:", batch.status.name, flush=True)
producer.shutdown()
PYTHON
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check rocketmq==0.4.4
python_version() {
  venv/bin/python -c 'import importlib.metadata as m; print("rocketmq (Python)", m.version("rocketmq"))'
}
rocketmq_run Read.java python_version | tee seen

as_described <<'TEXT'
rocketmq-client-5.5.0
rocketmq-broker-5.5.0
rocketmq-namesrv-5.5.0
rocketmq (Python) 0.4.4
Python, one: OK
Python, batch of b1 and b2: OK
Java, batch of b1 and b2: SEND_OK
read from python: one, tag tag
read from python: 170 bytes that begin with [0, 0, 0, 85] and hold b1 and b2: true, tag null
read from java: b1, tag tag
read from java: b2, tag tag
TEXT

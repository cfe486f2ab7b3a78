package interop.api;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageExt;

/** Sends in every form, and where they arrive. */
final class ProducerCases {
    static void addTo(Map<String, Case> cases) {
        cases.put("send", ProducerCases::send);
        cases.put("send result's transaction id", cluster -> {
            SendResult result = cluster.producer.send(Cluster.message(cluster.topic(1), 0));
            return result.getMsgId().equals(result.getTransactionId()) + " " + result.getRegionId();
        });
        cases.put("send asynchronously", cluster -> {
            Waiting waiting = new Waiting();
            cluster.producer.send(Cluster.message(cluster.topic(1), 0), waiting);
            return waiting.status();
        });
        cases.put("send one way", cluster -> {
            String topic = cluster.topic(1);
            cluster.producer.sendOneway(Cluster.message(topic, 0));
            Cluster.until(10_000, () -> stored(cluster, topic) == 1);
            return stored(cluster, topic);
        });
        cases.put("send a batch", cluster -> {
            String topic = cluster.topic(2);
            SendResult result = cluster.producer.send(messages(topic, 10));
            return result.getSendStatus() + " ids " + result.getMsgId().split(",").length
                + " stored " + cluster.stored(topic);
        });
        cases.put("send a batch asynchronously", cluster -> {
            Waiting waiting = new Waiting();
            cluster.producer.send(messages(cluster.topic(2), 5), waiting);
            return waiting.status();
        });
        cases.put("send a batch of delayed messages", cluster -> {
            List<Message> messages = messages(cluster.topic(1), 2);
            messages.get(0).setDelayTimeLevel(1);
            return cluster.producer.send(messages).getSendStatus();
        });
        cases.put("send through the accumulator", cluster -> {
            DefaultMQProducer producer = cluster.producer();
            producer.setAutoBatch(true);
            producer.start();
            String topic = cluster.topic(1);
            for (int i = 0; i < 20; i++) {
                producer.send(Cluster.message(topic, i), new Waiting());
            }
            Cluster.until(10_000, () -> stored(cluster, topic) == 20);
            producer.shutdown();
            return stored(cluster, topic);
        });
        cases.put("send to a named queue", cluster -> {
            List<MessageQueue> queues = cluster.queues(cluster.topic(4));
            MessageQueue third = queues.get(2);
            SendResult result = cluster.producer.send(Cluster.message(third.getTopic(), 0), third);
            return result.getMessageQueue().getQueueId() + " " + result.getQueueOffset();
        });
        cases.put("send to a queue chosen by hash", cluster -> {
            String topic = cluster.topic(4);
            TreeSet<Integer> ids = new TreeSet<>();
            for (int i = 0; i < 5; i++) {
                Message message = Cluster.message(topic, i);
                ids.add(cluster.producer.send(message, new SelectMessageQueueByHash(), "order-7")
                    .getMessageQueue().getQueueId());
            }
            return ids;
        });
        cases.put("send asynchronously to a chosen queue", cluster -> {
            Waiting waiting = new Waiting();
            cluster.producer.send(Cluster.message(cluster.topic(4), 0),
                (queues, message, arg) -> queues.get((Integer) arg), 3, waiting);
            return waiting.status() + " " + waiting.get(1, TimeUnit.SECONDS).getMessageQueue().getQueueId();
        });
        cases.put("send goes around the queues", cluster -> {
            String topic = cluster.topic(4);
            TreeSet<Integer> ids = new TreeSet<>();
            for (int i = 0; i < 4; i++) {
                ids.add(cluster.producer.send(Cluster.message(topic, i)).getMessageQueue().getQueueId());
            }
            return ids;
        });
        cases.put("send to a topic that is not there", cluster ->
            cluster.producer.send(Cluster.message(cluster.name("New"), 0)).getSendStatus());
        cases.put("send to a name that is too long", cluster ->
            cluster.producer.send(Cluster.message("n".repeat(128), 0)).getSendStatus());
        cases.put("send to a name with other characters", cluster ->
            cluster.producer.send(Cluster.message("a b", 0)).getSendStatus());
        cases.put("send to a system topic", cluster ->
            cluster.producer.send(Cluster.message("SCHEDULE_TOPIC_XXXX", 0)).getSendStatus());
        cases.put("send to a topic without the permission to write", cluster -> {
            TopicConfig config = new TopicConfig(cluster.name("T"), 2, 2, 4);
            return cluster.producer.send(Cluster.message(cluster.topic(config), 0)).getSendStatus();
        });
        cases.put("send with fault latency on", cluster -> {
            DefaultMQProducer producer = cluster.producer();
            producer.setSendLatencyFaultEnable(true);
            producer.start();
            SendResult result = producer.send(Cluster.message(cluster.topic(1), 0));
            producer.shutdown();
            return result.getSendStatus();
        });
        cases.put("send with a priority", cluster -> {
            String topic = cluster.topic(4);
            List<Integer> ids = new ArrayList<>();
            for (int priority : new int[] {0, 1, 3, 9}) {
                Message message = Cluster.message(topic, 0);
                message.setPriority(priority);
                ids.add(cluster.producer.send(message).getMessageQueue().getQueueId());
            }
            return ids;
        });
        cases.put("create a topic as a producer", cluster -> {
            String name = cluster.name("T");
            cluster.producer.createTopic("TBW102", name, 3, Map.of());
            Cluster.until(10_000, () -> cluster.isRouted(name));
            return cluster.queues(name).size();
        });
        cases.put("queues of a topic that is not there", cluster ->
            cluster.producer.fetchPublishMessageQueues(cluster.name("Missing")).size());
        cases.put("offsets of a queue", cluster -> {
            String topic = cluster.topic(1);
            cluster.send(topic, 5);
            MessageQueue queue = cluster.queues(topic).get(0);
            return cluster.producer.minOffset(queue) + " " + cluster.producer.maxOffset(queue) + " "
                + cluster.producer.searchOffset(queue, 0) + " "
                + cluster.producer.searchOffset(queue, System.currentTimeMillis() + 60_000) + " "
                + (cluster.producer.earliestMsgStoreTime(queue) > 0);
        });
        cases.put("view a message by its offset id", cluster -> {
            String topic = cluster.topic(1);
            SendResult result = cluster.producer.send(Cluster.message(topic, 7));
            MessageExt found = cluster.producer.viewMessage(topic, result.getOffsetMsgId());
            return Cluster.text(found.getBody()) + " " + found.getTags() + " " + found.getQueueOffset();
        });
        cases.put("view a message by its unique id", cluster -> {
            String topic = cluster.topic(1);
            SendResult result = cluster.producer.send(Cluster.message(topic, 7));
            Cluster.until(10_000, () -> view(cluster, topic, result.getMsgId()) != null);
            return Cluster.text(view(cluster, topic, result.getMsgId()).getBody());
        });
        cases.put("view a message that is not there", cluster ->
            cluster.producer.viewMessage(cluster.topic(1), "7F00000100002A9F0000000000ABCDEF"));
        cases.put("query messages by key", cluster -> {
            String topic = cluster.topic(1);
            cluster.send(topic, 3);
            cluster.send(topic, 3);
            long now = System.currentTimeMillis();
            Cluster.until(10_000, () -> found(cluster, topic, now) == 2);
            return found(cluster, topic, now);
        });
        cases.put("query messages of another time by key", cluster -> {
            String topic = cluster.topic(1);
            cluster.send(topic, 1);
            return cluster.producer.queryMessage(topic, "key-0", 10, 1, 2).getMessageList().size();
        });
    }

    private static Object send(Cluster cluster) throws Exception {
        String topic = cluster.topic(1);
        SendResult result = cluster.producer.send(Cluster.message(topic, 0));
        return result.getSendStatus() + " " + result.getMessageQueue().getTopic().equals(topic) + " "
            + result.getQueueOffset() + " " + result.getOffsetMsgId().length() + " " + result.isTraceOn();
    }

    private static MessageExt view(Cluster cluster, String topic, String id) {
        try {
            return cluster.producer.viewMessage(topic, id);
        } catch (Exception missing) {
            return null;
        }
    }

    private static int found(Cluster cluster, String topic, long now) {
        try {
            return cluster.producer.queryMessage(topic, "key-1", 10, now - 60_000, now + 60_000)
                .getMessageList().size();
        } catch (Exception missing) {
            return 0;
        }
    }

    static long stored(Cluster cluster, String topic) {
        try {
            return cluster.stored(topic);
        } catch (Exception failed) {
            return -1;
        }
    }

    static List<Message> messages(String topic, int count) {
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            messages.add(Cluster.message(topic, i));
        }
        return messages;
    }

    /** The result of an asynchronous send. */
    static final class Waiting extends CompletableFuture<SendResult> implements SendCallback {
        @Override
        public void onSuccess(SendResult result) {
            complete(result);
        }

        @Override
        public void onException(Throwable error) {
            completeExceptionally(error);
        }

        Object status() throws Exception {
            return get(20, TimeUnit.SECONDS).getSendStatus();
        }
    }

    private ProducerCases() {
    }
}

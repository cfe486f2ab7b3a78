package interop.api;

import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** DefaultLitePullConsumer. */
final class LiteCases {
    static void addTo(Map<String, Case> cases) {
        cases.put("lite: all", cluster -> run(cluster.lite(), PushCases.filled(cluster, 4, 10), 10));
        cases.put("lite: by tag", cluster -> {
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.subscribe(PushCases.filled(cluster, 2, 6), "A");
            return polled(consumer, 3);
        });
        cases.put("lite: by SQL92", cluster -> {
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.subscribe(PushCases.filled(cluster, 2, 6), MessageSelector.bySql("i IN ('1', '4')"));
            return polled(consumer, 2);
        });
        cases.put("lite: broadcasting", cluster -> {
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.setMessageModel(MessageModel.BROADCASTING);
            return run(consumer, PushCases.filled(cluster, 2, 6), 6);
        });
        cases.put("lite: assigned from the beginning", cluster ->
            assigned(cluster, DefaultLitePullConsumer::seekToBegin, 5));
        cases.put("lite: assigned by tag", cluster -> {
            String topic = PushCases.filled(cluster, 1, 6);
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.setSubExpressionForAssign(topic, "B");
            consumer.start();
            Collection<MessageQueue> queues = consumer.fetchMessageQueues(topic);
            consumer.assign(queues);
            consumer.seekToBegin(queues.iterator().next());
            return polledOn(consumer, 3);
        });
        cases.put("lite: sought to an offset", cluster ->
            assigned(cluster, (consumer, queue) -> consumer.seek(queue, 3), 2));
        cases.put("lite: sought beyond the end", cluster ->
            assigned(cluster, (consumer, queue) -> consumer.seek(queue, 99), 0));
        cases.put("lite: sought to the end", cluster -> {
            String topic = PushCases.filled(cluster, 1, 5);
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.start();
            MessageQueue queue = consumer.fetchMessageQueues(topic).iterator().next();
            consumer.assign(List.of(queue));
            consumer.seekToEnd(queue);
            consumer.poll(500);
            cluster.producer.send(Cluster.message(topic, 77));
            return polledOn(consumer, 1);
        });
        cases.put("lite: paused and resumed", cluster -> {
            String topic = PushCases.filled(cluster, 1, 5);
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.start();
            Collection<MessageQueue> queues = consumer.fetchMessageQueues(topic);
            consumer.assign(queues);
            consumer.pause(queues);
            consumer.seekToBegin(queues.iterator().next());
            int before = consumer.poll(1500).size();
            consumer.resume(queues);
            return before + " then " + polledOn(consumer, 5);
        });
        cases.put("lite: committed", cluster -> {
            String topic = PushCases.filled(cluster, 1, 5);
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.setAutoCommit(false);
            consumer.subscribe(topic, "*");
            consumer.start();
            new Got().poll(consumer, 5);
            MessageQueue queue = consumer.assignment().iterator().next();
            String none = committed(consumer, queue);
            consumer.commitSync(Map.of(queue, 4L), true);
            Cluster.until(10_000, () -> "4".equals(committed(consumer, queue)));
            String some = committed(consumer, queue);
            consumer.shutdown();
            return none + " then " + some;
        });
        cases.put("lite: a second one goes on", cluster -> {
            String topic = PushCases.filled(cluster, 1, 5);
            DefaultLitePullConsumer first = cluster.lite();
            first.subscribe(topic, "*");
            first.start();
            new Got().poll(first, 5);
            first.commitSync();
            first.shutdown();
            cluster.producer.send(Cluster.message(topic, 50));
            return run(cluster.lite(first.getConsumerGroup()), topic, 1);
        });
        cases.put("lite: an offset for a time", cluster -> {
            String topic = PushCases.filled(cluster, 1, 5);
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.start();
            MessageQueue queue = consumer.fetchMessageQueues(topic).iterator().next();
            String told = consumer.offsetForTimestamp(queue, 0L) + " "
                + consumer.offsetForTimestamp(queue, System.currentTimeMillis() + 60_000);
            consumer.shutdown();
            return told;
        });
        cases.put("lite: queues of a topic that is not there", cluster -> {
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.start();
            try {
                return consumer.fetchMessageQueues(cluster.name("Missing")).size();
            } finally {
                consumer.shutdown();
            }
        });
        cases.put("lite: hears of its queues", cluster -> {
            String topic = PushCases.filled(cluster, 3, 1);
            AtomicInteger heard = new AtomicInteger();
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.subscribe(topic, "*", (name, all, divided) -> heard.set(divided.size()));
            consumer.start();
            Cluster.until(Got.WAIT_MS_MAX, () -> heard.get() == 3);
            consumer.shutdown();
            return heard.get();
        });
        cases.put("lite: two members share", cluster -> {
            String topic = cluster.topic(4);
            DefaultLitePullConsumer first = cluster.lite();
            DefaultLitePullConsumer second = cluster.lite(first.getConsumerGroup());
            Set<MessageQueue> all = new HashSet<>();
            for (DefaultLitePullConsumer consumer : List.of(first, second)) {
                consumer.subscribe(topic, "*");
                consumer.start();
            }
            Cluster.until(Got.WAIT_MS_MAX, () -> size(first) == 2 && size(second) == 2);
            all.addAll(first.assignment());
            all.addAll(second.assignment());
            first.shutdown();
            second.shutdown();
            return all.size();
        });
        cases.put("lite: moved by an operator", LiteCases::moved);
    }

    private static Object moved(Cluster cluster) throws Exception {
        String topic = PushCases.filled(cluster, 1, 6);
        DefaultLitePullConsumer consumer = cluster.lite();
        consumer.setAutoCommitIntervalMillis(1000);
        consumer.subscribe(topic, "*");
        consumer.start();
        Got got = new Got().poll(consumer, 6);
        cluster.admin.resetOffsetByTimestamp(topic, consumer.getConsumerGroup(), 0, true);
        got.poll(consumer, 12);
        consumer.shutdown();
        return got.count();
    }

    interface Seeking {
        void of(DefaultLitePullConsumer consumer, MessageQueue queue) throws Exception;
    }

    private static Object assigned(Cluster cluster, Seeking seeking, int count) throws Exception {
        String topic = PushCases.filled(cluster, 1, 5);
        DefaultLitePullConsumer consumer = cluster.lite();
        consumer.start();
        try {
            MessageQueue queue = consumer.fetchMessageQueues(topic).iterator().next();
            consumer.assign(List.of(queue));
            seeking.of(consumer, queue);
            return new Got().poll(consumer, count).bodies();
        } finally {
            consumer.shutdown();
        }
    }

    static String run(DefaultLitePullConsumer consumer, String topic, int count) throws Exception {
        consumer.subscribe(topic, "*");
        return polled(consumer, count);
    }

    private static String polled(DefaultLitePullConsumer consumer, int count) throws Exception {
        consumer.start();
        return polledOn(consumer, count);
    }

    static String polledOn(DefaultLitePullConsumer consumer, int count) throws Exception {
        Got got = new Got().poll(consumer, count);
        consumer.shutdown();
        return got.bodies();
    }

    private static String committed(DefaultLitePullConsumer consumer, MessageQueue queue) {
        try {
            return String.valueOf(consumer.committed(queue));
        } catch (Exception failed) {
            return failed.getClass().getSimpleName();
        }
    }

    private static int size(DefaultLitePullConsumer consumer) {
        try {
            return consumer.assignment().size();
        } catch (Exception failed) {
            return -1;
        }
    }

    private LiteCases() {
    }
}

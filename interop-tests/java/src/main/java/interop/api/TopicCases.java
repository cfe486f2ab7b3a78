package interop.api;

import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageQueue;

/** Topics whose permission, or number of queues, is another one than before. */
final class TopicCases {
    static void addTo(Map<String, Case> cases) {
        for (int perm : new int[] {2, 4}) {
            cases.put("topic: a send that knows the route, perm " + perm, cluster -> {
                String topic = PushCases.filled(cluster, 1, 1);
                change(cluster, topic, 1, 1, perm);
                return cluster.producer.send(Cluster.message(topic, 1)).getSendStatus();
            });
            cases.put("topic: a send by a new producer, perm " + perm, cluster -> {
                String topic = cluster.topic(1);
                change(cluster, topic, 1, 1, perm);
                DefaultMQProducer producer = cluster.producer();
                producer.start();
                try {
                    return producer.send(Cluster.message(topic, 1)).getSendStatus();
                } finally {
                    producer.shutdown();
                }
            });
            cases.put("topic: a pull, perm " + perm, cluster -> {
                String topic = PushCases.filled(cluster, 1, 2);
                MessageQueue queue = cluster.queues(topic).get(0);
                return PullCases.with(cluster, consumer -> {
                    consumer.pull(queue, "*", 0, 1);
                    change(cluster, topic, 1, 1, perm);
                    return PullCases.told(consumer.pull(queue, "*", 0, 10));
                });
            });
            cases.put("topic: queues to publish to and to read, perm " + perm, cluster -> {
                String topic = cluster.topic(3);
                change(cluster, topic, 3, 3, perm);
                return PullCases.with(cluster, consumer -> counts(cluster, consumer, topic));
            });
        }
        cases.put("topic: a send to a queue that is read alone", cluster -> {
            String topic = PushCases.filled(cluster, 4, 4);
            MessageQueue last = cluster.queues(topic).get(3);
            change(cluster, topic, 4, 2, 6);
            return cluster.producer.send(Cluster.message(topic, 9), last).getSendStatus();
        });
        cases.put("topic: a send to a queue that is gone", cluster -> {
            String topic = PushCases.filled(cluster, 4, 4);
            MessageQueue last = cluster.queues(topic).get(3);
            change(cluster, topic, 2, 2, 6);
            return cluster.producer.send(Cluster.message(topic, 9), last).getSendStatus();
        });
        cases.put("topic: a pull from a queue that is gone", cluster -> {
            MessageQueue last = shrunk(cluster);
            return PullCases.with(cluster, consumer -> {
                consumer.pull(cluster.queues(last.getTopic()).get(0), "*", 0, 1);
                return PullCases.told(consumer.pull(last, "*", 0, 10));
            });
        });
        cases.put("topic: a queue that is there again", cluster -> {
            MessageQueue last = shrunk(cluster);
            change(cluster, last.getTopic(), 4, 4, 6);
            return PullCases.with(cluster, consumer ->
                consumer.pull(last, "*", 0, 10).getMsgFoundList().size());
        });
        cases.put("topic: more queues to write to than to read", cluster -> {
            String topic = cluster.topic(2);
            change(cluster, topic, 2, 4, 6);
            return PullCases.with(cluster, consumer -> counts(cluster, consumer, topic));
        });
    }

    /** The last of four queues with a message each, of a topic that has two of them left. */
    private static MessageQueue shrunk(Cluster cluster) throws Exception {
        String topic = PushCases.filled(cluster, 4, 4);
        MessageQueue last = cluster.queues(topic).get(3);
        change(cluster, topic, 2, 2, 6);
        return last;
    }

    private static void change(Cluster cluster, String topic, int read, int write, int perm)
        throws Exception {
        TopicConfig config = new TopicConfig(topic, read, write, perm);
        cluster.admin.createAndUpdateTopicConfig(cluster.brokerAddress(), config);
        Cluster.until(10_000, () -> isRoutedAs(cluster, topic, read, write, perm));
    }

    private static boolean isRoutedAs(Cluster cluster, String topic, int read, int write, int perm) {
        try {
            return cluster.admin.examineTopicRouteInfo(topic).getQueueDatas().stream().allMatch(
                queues -> queues.getReadQueueNums() == read && queues.getWriteQueueNums() == write
                    && queues.getPerm() == perm);
        } catch (Exception missing) {
            return false;
        }
    }

    private static String counts(Cluster cluster, DefaultMQPullConsumer consumer, String topic)
        throws Exception {
        int read = consumer.fetchSubscribeMessageQueues(topic).size();
        try {
            return read + " " + cluster.producer.fetchPublishMessageQueues(topic).size();
        } catch (Exception none) {
            return read + " " + ApiProbe.error(none);
        }
    }

    private TopicCases() {
    }
}

package interop.api;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Light queues that producers name in INNER_MULTI_DISPATCH. */
final class LmqCases {
    private static final String DISPATCH = "INNER_MULTI_DISPATCH";

    static void addTo(Map<String, Case> cases) {
        cases.put("lmq: pulled", cluster -> {
            Lmq lmq = new Lmq(cluster, 2);
            lmq.send(3, lmq.name + "," + lmq.other);
            lmq.send(2, lmq.other);
            return lmq.with(consumer -> lmq.pulled(consumer, lmq.name, "*", 3)
                + lmq.pulled(consumer, lmq.other, "*", 5));
        });
        cases.put("lmq: pulled by tag", cluster -> {
            Lmq lmq = new Lmq(cluster, 1);
            lmq.send(6, lmq.name);
            return lmq.with(consumer -> lmq.pulled(consumer, lmq.name, "B", 3));
        });
        cases.put("lmq: pulled by SQL92", cluster -> {
            Lmq lmq = new Lmq(cluster, 2);
            lmq.send(6, lmq.name);
            return lmq.with(consumer -> {
                lmq.pulled(consumer, lmq.name, "*", 6);
                // The client asks a broker for SQL92 once a heartbeat has told it the broker's version.
                String told = null;
                for (int tries = 0; told == null && tries < 200; tries++) {
                    told = lmq.pulledBySql(consumer);
                    Thread.sleep(told == null ? 100 : 0);
                }
                return told;
            });
        });
        cases.put("lmq: named twice by one message", cluster -> {
            Lmq lmq = new Lmq(cluster, 1);
            lmq.send(1, lmq.name + "," + lmq.name);
            return lmq.with(consumer -> lmq.pulled(consumer, lmq.name, "*", 1));
        });
        cases.put("lmq: its ends and a time", cluster -> {
            Lmq lmq = new Lmq(cluster, 2);
            lmq.send(4, lmq.name);
            return lmq.with(consumer -> {
                lmq.pulled(consumer, lmq.name, "*", 4);
                MessageQueue queue = lmq.queue(lmq.name);
                return consumer.minOffset(queue) + " " + consumer.maxOffset(queue)
                    + " " + consumer.searchOffset(queue, 0);
            });
        });
        cases.put("lmq: offsets of the group", cluster -> {
            Lmq lmq = new Lmq(cluster, 2);
            lmq.send(4, lmq.name);
            return lmq.with(consumer -> {
                lmq.pulled(consumer, lmq.name, "*", 4);
                MessageQueue queue = lmq.queue(lmq.name);
                consumer.updateConsumeOffset(queue, 3);
                consumer.getOffsetStore().persistAll(new HashSet<>(List.of(queue)));
                Cluster.until(10_000, () -> committed(consumer, queue) == 3);
                return committed(consumer, queue);
            });
        });
        cases.put("lmq: one that no message named", cluster -> {
            Lmq lmq = new Lmq(cluster, 1);
            return lmq.with(consumer ->
                PullCases.told(consumer.pull(lmq.queue(lmq.name), "*", 0, 32)));
        });
        cases.put("lmq: assigned to a lite pull consumer", cluster -> {
            Lmq lmq = new Lmq(cluster, 1);
            lmq.send(4, lmq.name);
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.start();
            // The broker's address comes with the route of a topic.
            List<MessageQueue> both = List.of(cluster.queues(lmq.topic).get(0), lmq.queue(lmq.name));
            consumer.assign(both);
            for (MessageQueue queue : both) {
                consumer.seek(queue, 0);
            }
            return LiteCases.polledOn(consumer, 8);
        });
        cases.put("lmq: of a topic with several queues, to a lite pull consumer", cluster -> {
            Lmq lmq = new Lmq(cluster, 4);
            lmq.send(8, lmq.name);
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.start();
            // One message of the topic itself, for the broker's address.
            MessageQueue own = cluster.queues(lmq.topic).get(0);
            consumer.assign(List.of(own, lmq.queue(lmq.name)));
            consumer.seek(own, 1);
            consumer.seek(lmq.queue(lmq.name), 0);
            return LiteCases.polledOn(consumer, 9);
        });
        cases.put("lmq: subscribed to by a push consumer", cluster -> {
            Lmq lmq = new Lmq(cluster, 2);
            lmq.send(4, lmq.name);
            Got got = new Got();
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(lmq.name, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                messages.forEach(got::add);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
            got.waits(4);
            consumer.shutdown();
            return got.bodies();
        });
        cases.put("lmq: a name that is none", cluster -> {
            Lmq lmq = new Lmq(cluster, 1);
            lmq.send(1, "no-light-queue");
            return "taken";
        });
    }

    /** A topic, and two names of light queues. */
    private static final class Lmq {
        final Cluster cluster;
        final String topic;
        final String name;
        final String other;

        Lmq(Cluster cluster, int queues) throws Exception {
            this.cluster = cluster;
            topic = cluster.topic(queues);
            name = "%LMQ%" + cluster.name("a");
            other = "%LMQ%" + cluster.name("b");
        }

        void send(int count, String dispatch) throws Exception {
            for (int i = 0; i < count; i++) {
                Message message = Cluster.message(topic, i);
                message.putUserProperty("i", String.valueOf(i));
                message.putUserProperty(DISPATCH, dispatch);
                cluster.producer.send(message);
            }
        }

        MessageQueue queue(String of) throws Exception {
            return new MessageQueue(of, cluster.queues(topic).get(0).getBrokerName(), 0);
        }

        Object with(PullCases.Asking asking) throws Exception {
            DefaultMQPullConsumer consumer = cluster.pull();
            consumer.start();
            try {
                // The broker's address comes with the route of a topic.
                consumer.pull(cluster.queues(topic).get(0), "*", 0, 1);
                return asking.of(consumer);
            } finally {
                consumer.shutdown();
            }
        }

        /** null: the client does not ask yet. */
        String pulledBySql(DefaultMQPullConsumer consumer) throws Exception {
            MessageSelector selector = MessageSelector.bySql("i BETWEEN 2 AND 4");
            try {
                return PullCases.told(consumer.pull(queue(name), selector, 1, 32));
            } catch (MQClientException early) {
                return null;
            }
        }

        /** Until so many are there: they may follow their sends. */
        String pulled(DefaultMQPullConsumer consumer, String of, String tags, int count)
            throws Exception {
            List<String> bodies = new ArrayList<>();
            long next = 0;
            for (int tries = 0; bodies.size() < count && tries < 40; tries++) {
                PullResult result = consumer.pull(queue(of), tags, next, 32);
                next = result.getNextBeginOffset();
                if (result.getMsgFoundList() == null) {
                    Thread.sleep(100);
                    continue;
                }
                for (MessageExt message : result.getMsgFoundList()) {
                    bodies.add(Cluster.text(message.getBody()));
                }
            }
            return bodies + " next " + next;
        }
    }

    private static long committed(DefaultMQPullConsumer consumer, MessageQueue queue) {
        return consumer.getOffsetStore().readOffset(queue, ReadOffsetType.READ_FROM_STORE);
    }

    private LmqCases() {
    }
}

package interop.api;

import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragelyByCircle;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueConsistentHash;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** Push consumers. */
final class PushCases {
    /** The first retry of a new group takes 10 s, and its retry topic is found within 30 s. */
    private static final int RETRY_MS_MAX = 100_000;

    static void addTo(Map<String, Case> cases) {
        cases.put("push: all messages", cluster -> consumed(cluster, consumer -> { }, "*", 10));
        cases.put("push: by tag", cluster -> consumed(cluster, consumer -> { }, "A || C", 5));
        cases.put("push: by SQL92", cluster -> {
            String topic = filled(cluster, 1, 10);
            Got got = new Got();
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(topic, MessageSelector.bySql("TAGS = 'B' AND i BETWEEN 3 AND 7"));
            return run(consumer, got, 3);
        });
        cases.put("push: by SQL92 that cannot be read", cluster -> {
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(cluster.topic(1), MessageSelector.bySql("a >"));
            return run(consumer, new Got(), 0);
        });
        cases.put("push: two topics", cluster -> {
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(filled(cluster, 1, 2), "*");
            consumer.subscribe(filled(cluster, 1, 3), "*");
            Got got = new Got();
            return run(consumer, got, 5) + got.count();
        });
        cases.put("push: two members share", PushCases::shared);
        cases.put("push: two members broadcast", PushCases::broadcast);
        cases.put("push: in order", PushCases::ordered);
        cases.put("push: in order, suspended once", PushCases::suspended);
        cases.put("push: in order, rolled over two members", PushCases::orderedPair);
        cases.put("push: retried", cluster -> retried(cluster, 16, ConsumeConcurrentlyStatus.RECONSUME_LATER));
        cases.put("push: a listener that throws", cluster -> retried(cluster, 16, null));
        cases.put("push: dead letters", PushCases::deadLetters);
        cases.put("push: sent back by hand", PushCases::sentBack);
        cases.put("push: batches", cluster -> consumed(cluster, consumer -> {
            consumer.setConsumeMessageBatchMaxSize(4);
            consumer.setPullBatchSize(8);
        }, "*", 20));
        cases.put("push: thresholds", cluster -> consumed(cluster, consumer -> {
            consumer.setPullThresholdForQueue(2);
            consumer.setPullThresholdForTopic(4);
            consumer.setPullThresholdSizeForQueue(1);
            consumer.setConsumeConcurrentlyMaxSpan(5);
        }, "*", 40));
        cases.put("push: a subscription in each pull", cluster ->
            consumed(cluster, consumer -> consumer.setPostSubscriptionWhenPull(true), "B", 5));
        cases.put("push: an interval between pulls", cluster ->
            consumed(cluster, consumer -> consumer.setPullInterval(50), "*", 6));
        cases.put("push: in unit mode", cluster -> consumed(cluster, consumer -> consumer.setUnitMode(true), "*", 6));
        cases.put("push: consistent hash", cluster -> consumed(cluster, consumer ->
            consumer.setAllocateMessageQueueStrategy(new AllocateMessageQueueConsistentHash()), "*", 8));
        cases.put("push: average by circle", cluster -> consumed(cluster, consumer ->
            consumer.setAllocateMessageQueueStrategy(new AllocateMessageQueueAveragelyByCircle()), "*", 8));
        cases.put("push: POP", PushCases::pop);
        cases.put("push: suspended and resumed", PushCases::paused);
        cases.put("push: goes on where it was", PushCases::goesOn);
        cases.put("push: another topic while it runs", PushCases::joinsTopic);
        cases.put("push: a topic that is not there yet", cluster -> {
            String topic = cluster.name("Early");
            Got got = new Got();
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener(got.listener());
            consumer.start();
            cluster.send(topic, 3);
            got.waits(3);
            consumer.shutdown();
            return got.bodies();
        });
        cases.put("push: an illegal group", cluster -> {
            DefaultMQPushConsumer consumer = cluster.push("a b");
            consumer.subscribe(cluster.topic(1), "*");
            return run(consumer, new Got(), 0);
        });
        cases.put("push: the default group", cluster -> {
            DefaultMQPushConsumer consumer = cluster.push("DEFAULT_CONSUMER");
            consumer.subscribe(cluster.topic(1), "*");
            return run(consumer, new Got(), 0);
        });
        cases.put("push: its queues", cluster -> {
            String topic = cluster.topic(3);
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener(new Got().listener());
            consumer.start();
            Set<MessageQueue> queues = consumer.fetchSubscribeMessageQueues(topic);
            consumer.shutdown();
            return queues.size();
        });
    }

    interface Settings {
        void of(DefaultMQPushConsumer consumer) throws Exception;
    }

    static String filled(Cluster cluster, int queues, int count) throws Exception {
        String topic = cluster.topic(queues);
        cluster.send(topic, count);
        return topic;
    }

    /** Starts it, waits for so many, ends it. @return the bodies */
    static String run(DefaultMQPushConsumer consumer, Got got, int count) throws Exception {
        consumer.registerMessageListener(got.listener());
        consumer.start();
        got.waits(count);
        consumer.shutdown();
        return got.bodies();
    }

    private static Object consumed(Cluster cluster, Settings settings, String tags, int count)
        throws Exception {
        String topic = filled(cluster, 4, "*".equals(tags) ? count : 2 * count);
        DefaultMQPushConsumer consumer = cluster.push();
        settings.of(consumer);
        consumer.subscribe(topic, tags);
        Got got = new Got();
        String bodies = run(consumer, got, count);
        return bodies + (got.count() == count ? "" : " in " + got.count());
    }

    private static Object shared(Cluster cluster) throws Exception {
        String topic = cluster.topic(4);
        String group = cluster.name("G");
        Got[] got = {new Got(), new Got()};
        DefaultMQPushConsumer[] consumers = {cluster.push(group), cluster.push(group)};
        for (int i = 0; i < 2; i++) {
            consumers[i].subscribe(topic, "*");
            consumers[i].registerMessageListener(got[i].listener());
            consumers[i].start();
        }
        Cluster.until(Got.WAIT_MS_MAX, () -> held(consumers[0]) == 2 && held(consumers[1]) == 2);
        cluster.send(topic, 20);
        Cluster.until(Got.WAIT_MS_MAX, () -> got[0].count() + got[1].count() >= 20);
        for (DefaultMQPushConsumer consumer : consumers) {
            consumer.shutdown();
        }
        return got[0].count() + " and " + got[1].count();
    }

    /** How many queues of its topics but the retry topic it has. */
    static long held(DefaultMQPushConsumer consumer) {
        return consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
            .filter(queue -> !queue.getTopic().startsWith("%RETRY%")).count();
    }

    private static Object broadcast(Cluster cluster) throws Exception {
        String topic = cluster.topic(2);
        String group = cluster.name("G");
        Got[] got = {new Got(), new Got()};
        DefaultMQPushConsumer[] consumers = {cluster.push(group), cluster.push(group)};
        for (int i = 0; i < 2; i++) {
            consumers[i].setMessageModel(MessageModel.BROADCASTING);
            consumers[i].subscribe(topic, "*");
            consumers[i].registerMessageListener(got[i].listener());
            consumers[i].start();
        }
        cluster.send(topic, 6);
        got[0].waits(6);
        got[1].waits(6);
        for (DefaultMQPushConsumer consumer : consumers) {
            consumer.shutdown();
        }
        return got[0].bodies() + got[1].bodies();
    }

    private static Object ordered(Cluster cluster) throws Exception {
        DefaultMQPushConsumer consumer = cluster.push();
        consumer.subscribe(filled(cluster, 1, 30), "*");
        Got got = new Got();
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(got::add);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        got.waits(30);
        consumer.shutdown();
        return got.bodiesInOrder();
    }

    private static Object suspended(Cluster cluster) throws Exception {
        DefaultMQPushConsumer consumer = cluster.push();
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.subscribe(filled(cluster, 1, 3), "*");
        Got got = new Got();
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(got::add);
            return got.count() == 2 ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT
                : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        got.waits(4);
        consumer.shutdown();
        return got.bodiesInOrder();
    }

    /** A second member joins: each queue stays in order. */
    private static Object orderedPair(Cluster cluster) throws Exception {
        String topic = cluster.topic(4);
        String group = cluster.name("G");
        Map<Integer, Long> last = new ConcurrentHashMap<>();
        Got got = new Got();
        Got wrong = new Got();
        DefaultMQPushConsumer[] consumers = {cluster.push(group), cluster.push(group)};
        for (DefaultMQPushConsumer consumer : consumers) {
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                for (MessageExt message : messages) {
                    Long before = last.put(message.getQueueId(), message.getQueueOffset());
                    if (before != null && message.getQueueOffset() > before + 1) {
                        wrong.add(message);
                    }
                    got.add(message);
                }
                return ConsumeOrderlyStatus.SUCCESS;
            });
        }
        consumers[0].start();
        cluster.send(topic, 40);
        got.waits(40);
        consumers[1].start();
        Cluster.until(Got.WAIT_MS_MAX, () -> held(consumers[0]) == 2 && held(consumers[1]) == 2);
        cluster.send(topic, 40);
        got.waits(80);
        for (DefaultMQPushConsumer consumer : consumers) {
            consumer.shutdown();
        }
        return wrong.count() + " gaps";
    }

    /** @param status null: it throws */
    private static Object retried(Cluster cluster, int times, ConsumeConcurrentlyStatus status)
        throws Exception {
        String topic = filled(cluster, 1, 1);
        DefaultMQPushConsumer consumer = cluster.push();
        consumer.setMaxReconsumeTimes(times);
        consumer.subscribe(topic, "*");
        Got got = new Got();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(got::add);
            context.setDelayLevelWhenNextConsume(1);
            if (got.count() > 1) {
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
            if (status == null) {
                throw new IllegalStateException("the first attempt fails");
            }
            return status;
        });
        consumer.start();
        Cluster.until(RETRY_MS_MAX, () -> got.count() == 2);
        consumer.shutdown();
        MessageExt again = got.all().get(1);
        return again.getReconsumeTimes() + " " + again.getTopic().equals(topic) + " "
            + again.getMsgId().equals(got.first().getMsgId()) + " " + again.getTags() + " "
            + again.getUserProperty("i") + " " + (again.getProperty("ORIGIN_MESSAGE_ID") != null);
    }

    private static Object deadLetters(Cluster cluster) throws Exception {
        String topic = filled(cluster, 1, 1);
        DefaultMQPushConsumer consumer = cluster.push();
        consumer.setMaxReconsumeTimes(1);
        consumer.subscribe(topic, "*");
        Got got = new Got();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(got::add);
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        String dead = "%DLQ%" + consumer.getConsumerGroup();
        boolean isThere = Cluster.until(RETRY_MS_MAX, () -> cluster.isRouted(dead)
            && got.count() == 2);
        consumer.shutdown();
        return isThere + " after " + got.count();
    }

    private static Object sentBack(Cluster cluster) throws Exception {
        String topic = filled(cluster, 1, 1);
        DefaultMQPushConsumer consumer = cluster.push();
        consumer.subscribe(topic, "*");
        Got got = new Got();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(got::add);
            if (got.count() == 1) {
                try {
                    consumer.sendMessageBack(messages.get(0), 1);
                } catch (Exception failed) {
                    throw new IllegalStateException(failed);
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Cluster.until(RETRY_MS_MAX, () -> got.count() >= 2);
        consumer.shutdown();
        return got.bodies() + " " + got.all().get(1).getReconsumeTimes();
    }

    private static Object pop(Cluster cluster) throws Exception {
        String topic = filled(cluster, 4, 10);
        DefaultMQPushConsumer consumer = cluster.push();
        cluster.admin.setMessageRequestMode(cluster.brokerAddress(), topic, consumer.getConsumerGroup(),
            MessageRequestMode.POP, 8, 5000);
        consumer.setClientRebalance(false);
        consumer.subscribe(topic, "*");
        return run(consumer, new Got(), 10);
    }

    private static Object paused(Cluster cluster) throws Exception {
        String topic = filled(cluster, 1, 2);
        Got got = new Got();
        DefaultMQPushConsumer consumer = cluster.push();
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(got.listener());
        consumer.start();
        got.waits(2);
        consumer.suspend();
        Thread.sleep(1500);
        cluster.send(topic, 2);
        Thread.sleep(1500);
        int before = got.count();
        consumer.resume();
        got.waits(4);
        consumer.shutdown();
        return (before <= 4) + " " + got.count();
    }

    private static Object goesOn(Cluster cluster) throws Exception {
        String topic = filled(cluster, 2, 6);
        DefaultMQPushConsumer first = cluster.push();
        first.subscribe(topic, "*");
        run(first, new Got(), 6);
        for (int i = 10; i < 13; i++) {
            cluster.producer.send(Cluster.message(topic, i));
        }
        DefaultMQPushConsumer second = cluster.push(first.getConsumerGroup());
        second.subscribe(topic, "*");
        Got got = new Got();
        second.registerMessageListener(got.listener());
        second.start();
        for (int i = 10; i < 13; i++) {
            String body = "m" + i;
            got.waitsFor(message -> body.equals(Cluster.text(message.getBody())));
        }
        second.shutdown();
        // What the first had at its end may come once more.
        return got.bodies().contains("m10, m11, m12") + " " + (got.count() < 9);
    }

    private static Object joinsTopic(Cluster cluster) throws Exception {
        Got got = new Got();
        DefaultMQPushConsumer consumer = cluster.push();
        consumer.subscribe(filled(cluster, 1, 1), "*");
        consumer.registerMessageListener(got.listener());
        consumer.start();
        got.waits(1);
        String other = cluster.topic(1);
        SendResult sent = cluster.producer.send(new Message(other, Cluster.bytes("other")));
        consumer.subscribe(other, "*");
        got.waits(2);
        consumer.unsubscribe(other);
        consumer.shutdown();
        return sent.getSendStatus() + " " + got.bodies();
    }


    private PushCases() {
    }
}

package interop.api;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.MQPullConsumerScheduleService;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullCallback;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** DefaultMQPullConsumer. */
final class PullCases {
    static void addTo(Map<String, Case> cases) {
        cases.put("pull: all", cluster -> pull(cluster, 5, "*", 0, 10));
        cases.put("pull: by tag", cluster -> pull(cluster, 6, "B", 0, 10));
        cases.put("pull: 100 of 100", cluster -> pull(cluster, 100, "*", 0, 100));
        cases.put("pull: 1", cluster -> pull(cluster, 5, "*", 2, 1));
        cases.put("pull: none", cluster -> pull(cluster, 5, "*", 2, 0));
        cases.put("pull: no tag that is there", cluster -> pull(cluster, 5, "Z", 0, 10));
        cases.put("pull: at the end", cluster -> pull(cluster, 5, "*", 5, 10));
        cases.put("pull: beyond the end", cluster -> pull(cluster, 5, "*", 50, 10));
        cases.put("pull: before the beginning", cluster -> pull(cluster, 5, "*", -1, 10));
        cases.put("pull: an empty queue", cluster -> pull(cluster, 0, "*", 0, 10));
        cases.put("pull: a queue that is not there", cluster -> {
            String topic = PushCases.filled(cluster, 1, 1);
            MessageQueue own = cluster.queues(topic).get(0);
            return with(cluster, consumer ->
                consumer.pull(new MessageQueue(topic, own.getBrokerName(), 9), "*", 0, 10).getPullStatus());
        });
        cases.put("pull: by SQL92", cluster -> {
            MessageQueue queue = queue(cluster, 10);
            return with(cluster, consumer ->
                told(consumer.pull(queue, MessageSelector.bySql("i > 6"), 0, 32)));
        });
        cases.put("pull: asynchronously", cluster -> {
            MessageQueue queue = queue(cluster, 4);
            return with(cluster, consumer -> {
                CompletableFuture<PullResult> pulled = new CompletableFuture<>();
                consumer.pull(queue, "*", 0, 10, new PullCallback() {
                    @Override
                    public void onSuccess(PullResult result) {
                        pulled.complete(result);
                    }

                    @Override
                    public void onException(Throwable error) {
                        pulled.completeExceptionally(error);
                    }
                });
                return told(pulled.get(10, TimeUnit.SECONDS));
            });
        });
        cases.put("pull: held until a message comes", cluster -> {
            MessageQueue queue = queue(cluster, 0);
            return with(cluster, consumer -> {
                CompletableFuture<PullResult> pulled = CompletableFuture.supplyAsync(() -> {
                    try {
                        return consumer.pullBlockIfNotFound(queue, "*", 0, 10);
                    } catch (Exception failed) {
                        throw new IllegalStateException(failed);
                    }
                });
                Thread.sleep(1000);
                cluster.send(queue.getTopic(), 1);
                return told(pulled.get(15, TimeUnit.SECONDS));
            });
        });
        cases.put("pull: offsets of the group", cluster -> {
            MessageQueue queue = queue(cluster, 5);
            return with(cluster, consumer -> {
                long before = consumer.fetchConsumeOffset(queue, true);
                consumer.updateConsumeOffset(queue, 3);
                consumer.getOffsetStore().persistAll(new HashSet<>(List.of(queue)));
                // It is told one way.
                Cluster.until(10_000, () -> committed(consumer, queue) == 3);
                return before + " " + committed(consumer, queue);
            });
        });
        cases.put("pull: queues and their ends", cluster -> {
            String topic = PushCases.filled(cluster, 3, 6);
            return with(cluster, consumer -> {
                long sum = 0;
                for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
                    sum += consumer.maxOffset(queue) - consumer.minOffset(queue);
                }
                return consumer.fetchSubscribeMessageQueues(topic).size() + " " + sum;
            });
        });
        cases.put("pull: handed back", cluster -> {
            MessageQueue queue = queue(cluster, 1);
            return with(cluster, consumer -> {
                MessageExt message = consumer.pull(queue, "*", 0, 1).getMsgFoundList().get(0);
                consumer.sendMessageBack(message, 1);
                String retry = "%RETRY%" + consumer.getConsumerGroup();
                return Cluster.until(40_000, () -> cluster.isRouted(retry)
                    && ProducerCases.stored(cluster, retry) == 1);
            });
        });
        cases.put("pull: by a schedule", cluster -> {
            String topic = PushCases.filled(cluster, 2, 6);
            MQPullConsumerScheduleService service = new MQPullConsumerScheduleService(cluster.name("G"));
            service.getDefaultMQPullConsumer().setNamesrvAddr(cluster.nameServer);
            service.getDefaultMQPullConsumer().setInstanceName(cluster.name("schedule"));
            Got got = new Got();
            service.registerPullTaskCallback(topic, (queue, context) -> {
                try {
                    long offset = Math.max(0, context.getPullConsumer().fetchConsumeOffset(queue, false));
                    PullResult result = context.getPullConsumer().pull(queue, "*", offset, 4);
                    if (result.getMsgFoundList() != null) {
                        result.getMsgFoundList().forEach(got::add);
                    }
                    context.getPullConsumer().updateConsumeOffset(queue, result.getNextBeginOffset());
                    context.setPullNextDelayTimeMillis(100);
                } catch (Exception failed) {
                    context.setPullNextDelayTimeMillis(1000);
                }
            });
            service.start();
            got.waits(6);
            service.shutdown();
            return got.bodies() + got.count();
        });
    }

    interface Asking {
        Object of(DefaultMQPullConsumer consumer) throws Exception;
    }

    static Object with(Cluster cluster, Asking asking) throws Exception {
        DefaultMQPullConsumer consumer = cluster.pull();
        consumer.start();
        try {
            return asking.of(consumer);
        } finally {
            consumer.shutdown();
        }
    }

    private static long committed(DefaultMQPullConsumer consumer, MessageQueue queue) {
        return consumer.getOffsetStore().readOffset(queue, ReadOffsetType.READ_FROM_STORE);
    }

    private static MessageQueue queue(Cluster cluster, int count) throws Exception {
        return cluster.queues(PushCases.filled(cluster, 1, count)).get(0);
    }

    private static Object pull(Cluster cluster, int stored, String tags, long offset, int max)
        throws Exception {
        MessageQueue queue = queue(cluster, stored);
        return with(cluster, consumer -> told(consumer.pull(queue, tags, offset, max)));
    }

    static String told(PullResult result) {
        List<String> bodies = new ArrayList<>();
        if (result.getMsgFoundList() != null) {
            result.getMsgFoundList().forEach(message -> bodies.add(Cluster.text(message.getBody())));
        }
        return result.getPullStatus() + " " + bodies + " next " + result.getNextBeginOffset()
            + " of " + result.getMinOffset() + " to " + result.getMaxOffset();
    }

    private PullCases() {
    }
}

package interop.api;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.function.Predicate;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** What consumers were given. */
final class Got {
    static final int WAIT_MS_MAX = 60_000;
    private final List<MessageExt> messages = new ArrayList<>();

    synchronized void add(MessageExt message) {
        messages.add(message);
    }

    synchronized int count() {
        return messages.size();
    }

    synchronized List<MessageExt> all() {
        return new ArrayList<>(messages);
    }

    synchronized MessageExt first() {
        return messages.get(0);
    }

    boolean waits(int count) throws InterruptedException {
        return Cluster.until(WAIT_MS_MAX, () -> count() >= count);
    }

    boolean waitsFor(Predicate<MessageExt> isSo) throws InterruptedException {
        return Cluster.until(WAIT_MS_MAX, () -> all().stream().anyMatch(isSo));
    }

    /** Bodies, sorted, without doubles. */
    synchronized String bodies() {
        TreeSet<String> bodies = new TreeSet<>();
        messages.forEach(message -> bodies.add(Cluster.text(message.getBody())));
        return bodies.toString();
    }

    synchronized String bodiesInOrder() {
        List<String> bodies = new ArrayList<>();
        messages.forEach(message -> bodies.add(Cluster.text(message.getBody())));
        return bodies.toString();
    }

    MessageListenerConcurrently listener() {
        return (messages, context) -> {
            messages.forEach(this::add);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    /** Polls until so many are here, or for a minute. */
    Got poll(DefaultLitePullConsumer consumer, int count) throws InterruptedException {
        Cluster.until(WAIT_MS_MAX, () -> {
            consumer.poll(200).forEach(this::add);
            return count() >= count;
        });
        return this;
    }
}

package interop.api;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** The cluster that is asked, and what most questions need. */
final class Cluster {
    final String nameServer;
    final DefaultMQAdminExt admin;
    final DefaultMQProducer producer;
    /** A busy machine is no difference between brokers. */
    private static final int API_MS = 20_000;
    private final String run = Long.toString(System.currentTimeMillis(), 36);
    private final AtomicInteger names = new AtomicInteger();

    Cluster(String nameServer) throws Exception {
        this.nameServer = nameServer;
        admin = new DefaultMQAdminExt(20_000);
        admin.setNamesrvAddr(nameServer);
        admin.setInstanceName(name("admin"));
        admin.setMqClientApiTimeout(API_MS);
        admin.start();
        producer = producer();
        producer.start();
    }

    void end() {
        producer.shutdown();
        admin.shutdown();
    }

    /** A name that no other question uses. */
    String name(String prefix) {
        return prefix + "_" + run + "_" + names.incrementAndGet();
    }

    String brokerAddress() throws Exception {
        return admin.examineBrokerClusterInfo().getBrokerAddrTable().values().iterator().next()
            .getBrokerAddrs().get(0L);
    }

    String topic(int queues) throws Exception {
        return topic(new TopicConfig(name("T"), queues, queues));
    }

    /** Made, and known to the name server. */
    String topic(TopicConfig config) throws Exception {
        admin.createAndUpdateTopicConfig(brokerAddress(), config);
        until(10_000, () -> isRouted(config.getTopicName()));
        return config.getTopicName();
    }

    boolean isRouted(String topic) {
        try {
            return !admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty();
        } catch (Exception missing) {
            return false;
        }
    }

    DefaultMQProducer producer() {
        DefaultMQProducer made = new DefaultMQProducer(name("PG"));
        made.setNamesrvAddr(nameServer);
        made.setMqClientApiTimeout(API_MS);
        made.setInstanceName(name("producer"));
        made.setSendMsgTimeout(10_000);
        return made;
    }

    DefaultMQPushConsumer push() {
        return push(name("G"));
    }

    DefaultMQPushConsumer push(String group) {
        DefaultMQPushConsumer made = new DefaultMQPushConsumer(group);
        made.setNamesrvAddr(nameServer);
        made.setMqClientApiTimeout(API_MS);
        made.setInstanceName(name("push"));
        made.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        return made;
    }

    DefaultLitePullConsumer lite() {
        return lite(name("G"));
    }

    DefaultLitePullConsumer lite(String group) {
        DefaultLitePullConsumer made = new DefaultLitePullConsumer(group);
        made.setNamesrvAddr(nameServer);
        made.setMqClientApiTimeout(API_MS);
        made.setInstanceName(name("lite"));
        made.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        return made;
    }

    DefaultMQPullConsumer pull() {
        DefaultMQPullConsumer made = new DefaultMQPullConsumer(name("G"));
        made.setNamesrvAddr(nameServer);
        made.setMqClientApiTimeout(API_MS);
        made.setInstanceName(name("pull"));
        return made;
    }

    static Message message(String topic, int index) {
        return new Message(topic, index % 2 == 0 ? "A" : "B", "key-" + index, bytes("m" + index));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    /** m0, m1, ... with the tags A and B in turn, and the property `i`. */
    void send(String topic, int count) throws Exception {
        for (int i = 0; i < count; i++) {
            Message message = message(topic, i);
            message.putUserProperty("i", String.valueOf(i));
            producer.send(message);
        }
    }

    List<MessageQueue> queues(String topic) throws Exception {
        List<MessageQueue> queues = new ArrayList<>(producer.fetchPublishMessageQueues(topic));
        queues.sort(null);
        return queues;
    }

    /** Over all its queues. */
    long stored(String topic) throws Exception {
        long count = 0;
        for (MessageQueue queue : queues(topic)) {
            count += producer.maxOffset(queue) - producer.minOffset(queue);
        }
        return count;
    }

    static boolean until(long timeoutMs, BooleanSupplier isSo) throws InterruptedException {
        long end = System.nanoTime() + timeoutMs * 1_000_000;
        while (!isSo.getAsBoolean()) {
            if (System.nanoTime() > end) {
                return false;
            }
            Thread.sleep(20);
        }
        return true;
    }
}

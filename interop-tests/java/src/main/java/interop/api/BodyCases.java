package interop.api;

import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Bodies, sizes and properties: what goes in comes out. */
final class BodyCases {
    private static final int MIB = 1024 * 1024;

    static void addTo(Map<String, Case> cases) {
        for (CompressionType type : CompressionType.values()) {
            cases.put("a body compressed by " + type, cluster -> compressed(cluster, type, "text ".repeat(4000)));
        }
        cases.put("a body of random bytes, compressed", cluster ->
            compressed(cluster, CompressionType.ZLIB, random(50_000)));
        cases.put("a body of 6 MiB, compressed", cluster ->
            compressed(cluster, CompressionType.ZLIB, "a".repeat(6 * MIB)));
        cases.put("a body of 4 MiB", cluster -> sized(cluster, 4 * MIB, 4 * MIB));
        cases.put("a body of 4 MiB and a byte", cluster -> sized(cluster, 4 * MIB + 1, 4 * MIB));
        cases.put("a body of 4 MiB and a byte, allowed by the producer", cluster ->
            sized(cluster, 4 * MIB + 1, 8 * MIB));
        cases.put("an empty body", cluster -> sized(cluster, 0, 4 * MIB));
        cases.put("no body", cluster ->
            cluster.producer.send(new Message(cluster.topic(1), (byte[]) null)).getSendStatus());
        for (int length : new int[] {30_000, 32_400, 33_000}) {
            cases.put("a property of " + length + " characters", cluster -> {
                Message message = Cluster.message(cluster.topic(1), 0);
                message.putUserProperty("long", "p".repeat(length));
                return cluster.producer.send(message).getSendStatus();
            });
        }
        cases.put("properties come back", cluster -> {
            String topic = cluster.topic(1);
            Message message = new Message(topic, "tag", "k1 k2", Cluster.bytes("gr\u00fc\u00dfe \u4e2d\u6587"));
            message.putUserProperty("name", "\u4e2d\u6587 = x");
            message.setFlag(42);
            message.setBuyerId("buyer");
            message.setInstanceId("instance");
            cluster.producer.send(message);
            MessageExt got = one(cluster, topic);
            return got.getTags() + "|" + got.getKeys() + "|" + Cluster.text(got.getBody()) + "|"
                + got.getUserProperty("name") + "|" + got.getFlag() + "|" + got.getBuyerId() + "|"
                + got.getProperty("INSTANCE_ID") + "|" + got.getProperty("CLUSTER") + "|"
                + got.getProperty("MSG_REGION") + "|" + got.getProperty("TRACE_ON") + "|" + got.getReconsumeTimes();
        });
        cases.put("a message to nowhere", cluster ->
            cluster.producer.send(new Message("", Cluster.bytes("x"))).getSendStatus());
    }

    private static Object sized(Cluster cluster, int bytes, int bytesMax) throws Exception {
        DefaultMQProducer producer = cluster.producer();
        producer.setMaxMessageSize(bytesMax);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        try {
            return producer.send(new Message(cluster.topic(1), new byte[bytes])).getSendStatus();
        } finally {
            producer.shutdown();
        }
    }

    private static Object compressed(Cluster cluster, CompressionType type, String text) throws Exception {
        DefaultMQProducer producer = cluster.producer();
        producer.setCompressType(type);
        producer.setMaxMessageSize(8 * MIB);
        producer.start();
        try {
            String topic = cluster.topic(1);
            byte[] body = Cluster.bytes(text);
            String status = producer.send(new Message(topic, body)).getSendStatus().name();
            return status + " " + Arrays.equals(one(cluster, topic).getBody(), body);
        } finally {
            producer.shutdown();
        }
    }

    static MessageExt one(Cluster cluster, String topic) throws Exception {
        DefaultLitePullConsumer consumer = cluster.lite();
        consumer.subscribe(topic, "*");
        consumer.start();
        try {
            return new Got().poll(consumer, 1).first();
        } finally {
            consumer.shutdown();
        }
    }

    private static String random(int length) {
        StringBuilder text = new StringBuilder();
        new Random(7).ints(length, 32, 10_000).forEach(code -> text.append((char) code));
        return text.toString();
    }

    private BodyCases() {
    }
}

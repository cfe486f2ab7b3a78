package interop.api;

import java.text.SimpleDateFormat;
import java.util.Date;
import java.util.Map;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Where a new group begins; namespaces; traces. */
final class StartCases {
    static void addTo(Map<String, Case> cases) {
        for (ConsumeFromWhere from : new ConsumeFromWhere[] {
            ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET}) {
            cases.put("a new push group " + from, cluster -> {
                DefaultMQPushConsumer consumer = cluster.push();
                consumer.setConsumeFromWhere(from);
                consumer.subscribe(PushCases.filled(cluster, 1, 5), "*");
                return PushCases.run(consumer, new Got(), 5);
            });
        }
        cases.put("a new push group CONSUME_FROM_TIMESTAMP", cluster -> {
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
            consumer.setConsumeTimestamp(time(-3_600_000));
            consumer.subscribe(PushCases.filled(cluster, 1, 5), "*");
            return PushCases.run(consumer, new Got(), 5);
        });
        cases.put("a new lite group CONSUME_FROM_LAST_OFFSET", cluster -> {
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
            return LiteCases.run(consumer, PushCases.filled(cluster, 1, 4), 4);
        });
        cases.put("a new lite group CONSUME_FROM_TIMESTAMP", cluster -> {
            DefaultLitePullConsumer consumer = cluster.lite();
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
            consumer.setConsumeTimestamp(time(3_600_000));
            return LiteCases.run(consumer, PushCases.filled(cluster, 1, 4), 4);
        });
        cases.put("a namespace of both sides", cluster -> namespace(cluster, true));
        cases.put("a namespace of the older kind", cluster -> namespace(cluster, false));
        cases.put("a trace of producer and consumer", StartCases::trace);
        cases.put("a trace of a consumer that fails", StartCases::failingTrace);
    }

    private static String time(long fromNowMs) {
        return new SimpleDateFormat("yyyyMMddHHmmss").format(new Date(System.currentTimeMillis() + fromNowMs));
    }

    private static Object namespace(Cluster cluster, boolean isV2) throws Exception {
        String namespace = "MQ_INST_" + cluster.name("ns").replace('_', 'x');
        DefaultMQProducer producer = cluster.producer();
        DefaultMQPushConsumer consumer = cluster.push();
        if (isV2) {
            producer.setNamespaceV2(namespace);
            consumer.setNamespaceV2(namespace);
        } else {
            producer.setNamespace(namespace);
            consumer.setNamespace(namespace);
        }
        producer.start();
        String topic = cluster.name("T");
        if (!isV2) {
            cluster.topic(new org.apache.rocketmq.common.TopicConfig(namespace + "%" + topic, 1, 1));
        }
        SendResult result = producer.send(new Message(topic, Cluster.bytes("named")));
        consumer.subscribe(topic, "*");
        Got got = new Got();
        PushCases.run(consumer, got, 1);
        producer.shutdown();
        return result.getSendStatus() + " " + got.first().getTopic().equals(topic) + " " + got.bodies();
    }

    private static Object trace(Cluster cluster) throws Exception {
        return traced(cluster, true);
    }

    private static Object failingTrace(Cluster cluster) throws Exception {
        return traced(cluster, false);
    }

    /** The kinds of trace that name the message. */
    private static Object traced(Cluster cluster, boolean succeeds) throws Exception {
        String topic = cluster.topic(1);
        String traces = cluster.topic(1);
        DefaultMQProducer producer = new DefaultMQProducer(cluster.name("PG"), null, true, traces);
        producer.setNamesrvAddr(cluster.nameServer);
        producer.setInstanceName(cluster.name("traced"));
        producer.start();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(cluster.name("G"), true, traces);
        consumer.setNamesrvAddr(cluster.nameServer);
        consumer.setInstanceName(cluster.name("traced"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        Got got = new Got();
        if (succeeds) {
            consumer.registerMessageListener(got.listener());
        } else {
            consumer.registerMessageListener(
                (org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently) (messages, context) -> {
                    messages.forEach(got::add);
                    return org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus.RECONSUME_LATER;
                });
        }
        consumer.start();
        String id = producer.send(Cluster.message(topic, 0)).getMsgId();
        got.waits(1);
        TreeSet<String> kinds = new TreeSet<>();
        DefaultLitePullConsumer reader = cluster.lite();
        reader.subscribe(traces, "*");
        reader.start();
        Cluster.until(40_000, () -> {
            for (MessageExt message : reader.poll(200)) {
                for (String entry : Cluster.text(message.getBody()).split("\u0002")) {
                    String[] fields = entry.split("\u0001");
                    if (entry.contains(id)) {
                        kinds.add(fields[0] + (fields[0].equals("SubAfter") ? " " + fields[4] : ""));
                    }
                }
            }
            return kinds.size() >= 3;
        });
        reader.shutdown();
        consumer.shutdown();
        producer.shutdown();
        return kinds;
    }

    private StartCases() {
    }
}

package interop;

import com.alibaba.fastjson.JSON;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.protocol.heartbeat.MessageModel;

/**
 * Checks of one broker: {@code Main <name server> <whether the VIP channel is this version's default>}, or of one that
 * wants signatures: {@code Main <name server> <access key> <secret key>}. Prints a
 * line of JSON for each: its name, and what went wrong if anything did. Clients have their defaults but for the name
 * server, and no topic is made by hand.
 */
public final class Main {
    /** A consumer rebalances every twenty seconds, and asks for routes every thirty. */
    private static final long WAIT_MS_MAX = 120_000;

    private static String nameServer;

    private interface Check {
        void run(String name) throws Exception;
    }

    public static void main(String[] args) {
        nameServer = args[0];
        if (args.length > 2) {
            Signed signed = new Signed(nameServer, args[1], args[2]);
            check("what is signed is sent and consumed", "Signed", signed::exchange);
            check("a wrong secret is refused", "Signed", signed::wrongSecret);
            check("what is not signed is refused", "Signed", signed::unsigned);
            print("done", Collections.emptyMap());
            System.exit(0);
        }
        boolean isVipDefault = Boolean.parseBoolean(args[1]);
        check("requests go by the channel that is this version's default", "Vip", topic -> {
            DefaultMQProducer producer = producer(topic);
            expect(producer.isVipChannelEnabled() == isVipDefault, "VIP is " + producer.isVipChannelEnabled());
            producer.send(message(topic, "sent"));
            producer.shutdown();
        });
        check("every way of sending arrives whole", "EveryWay", Main::everyWay);
        check("a consumer that starts first gets the first message", "First", Main::first);
        check("a failed message comes again with a count", "Again", Main::again);
        check("an orderly consumer keeps a queue's order, a failed message again before the next", "Orderly",
            Main::orderly);
        check("every broadcasting consumer gets every message", "Broadcast", Main::broadcast);
        check("a pull consumer pulls, waits, and keeps its place", "Pulling", Main::pulling);
        check("a message is found by id, key and time", "Lookup", Main::lookup);
        check("a consumer sends its part of the trace", "Traced", Main::traced);
        check("a topic is made with the queues asked for", "Made", Main::made);
        print("done", Collections.emptyMap());
        System.exit(0);
    }

    private static void check(String name, String topic, Check check) {
        String problem = "";
        try {
            check.run("Java4" + topic);
        } catch (Throwable error) {
            problem = error + (error.getCause() == null ? "" : ", because of " + error.getCause());
        }
        Map<String, String> fields = new LinkedHashMap<>();
        fields.put("name", name);
        fields.put("problem", problem);
        print("check", fields);
    }

    private static void print(String name, Map<String, String> fields) {
        Map<String, String> event = new LinkedHashMap<>();
        event.put("event", name);
        event.putAll(fields);
        System.out.println(JSON.toJSONString(event));
    }

    private static void everyWay(String topic) throws Exception {
        DefaultMQProducer producer = producer(topic);
        Message sync = message(topic, "sync");
        sync.setTags("TagA");
        sync.setKeys(Arrays.asList("k1", "k2"));
        sync.putUserProperty("text", "grüße 中文");
        SendResult sent = producer.send(sync);
        expect(sent.getSendStatus() == SendStatus.SEND_OK, "status " + sent.getSendStatus());
        CompletableFuture<SendResult> answered = new CompletableFuture<>();
        producer.send(message(topic, "async"), new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                answered.complete(result);
            }

            @Override
            public void onException(Throwable error) {
                answered.completeExceptionally(error);
            }
        });
        answered.get(10, TimeUnit.SECONDS);
        producer.sendOneway(message(topic, "oneway"));
        producer.send(Arrays.asList(message(topic, "batch1"), message(topic, "batch2")));
        // The client compresses from 4 KiB on.
        String large = String.join("", Collections.nCopies(20_000, "large "));
        producer.send(message(topic, large));
        Received received = new Received();
        DefaultMQPushConsumer consumer = concurrent(topic, "one", received, false);
        until("every message", () -> received.bodies().size() >= 6);
        Set<String> want = new TreeSet<>(Arrays.asList("sync", "async", "oneway", "batch1", "batch2", large));
        expect(new TreeSet<>(received.bodies()).equals(want), "other bodies came");
        MessageExt got = received.get("sync");
        expect(got.getMsgId().equals(sent.getMsgId()), "id " + got.getMsgId() + " is not " + sent.getMsgId());
        expect("TagA".equals(got.getTags()) && "k1 k2".equals(got.getKeys()), got.toString());
        expect("grüße 中文".equals(got.getUserProperty("text")), got.toString());
        consumer.shutdown();
        producer.shutdown();
    }

    private static void first(String topic) throws Exception {
        Received received = new Received();
        DefaultMQPushConsumer consumer = concurrent(topic, "one", received, false);
        DefaultMQProducer producer = producer(topic);
        producer.send(message(topic, "first"));
        until("the message", () -> received.bodies().size() == 1);
        consumer.shutdown();
        producer.shutdown();
    }

    private static void again(String topic) throws Exception {
        DefaultMQProducer producer = producer(topic);
        SendResult sent = producer.send(message(topic, "fails"));
        Received received = new Received();
        DefaultMQPushConsumer consumer = consumer(topic, "one", false);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(received::add);
            context.setDelayLevelWhenNextConsume(1);
            return messages.get(0).getReconsumeTimes() == 0
                ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        until("the second time", () -> received.bodies().size() >= 2);
        MessageExt second = received.at(1);
        expect(second.getReconsumeTimes() == 1, "count " + second.getReconsumeTimes());
        expect(second.getTopic().equals(topic), "topic " + second.getTopic());
        expect(second.getMsgId().equals(sent.getMsgId()), "id " + second.getMsgId());
        consumer.shutdown();
        producer.shutdown();
    }

    private static void orderly(String topic) throws Exception {
        DefaultMQProducer producer = producer(topic);
        List<String> want = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            producer.send(message(topic, "m" + i), (queues, message, arg) -> queues.get(1), null);
            want.add("m" + i);
        }
        want.add(3, "m3");
        Received received = new Received();
        Set<String> failed = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = consumer(topic, "one", false);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(received::add);
            boolean isFirst = body(messages.get(0)).equals("m3") && failed.add("m3");
            return isFirst ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        until("every message", () -> received.bodies().size() >= 21);
        expect(received.bodies().equals(want), "order " + received.bodies());
        consumer.shutdown();
        producer.shutdown();
    }

    private static void broadcast(String topic) throws Exception {
        DefaultMQProducer producer = producer(topic);
        producer.send(message(topic, "before"));
        List<Received> all = new ArrayList<>();
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        for (String instance : Arrays.asList("one", "two")) {
            Received received = new Received();
            DefaultMQPushConsumer consumer = consumer(topic, instance, false);
            consumer.setMessageModel(MessageModel.BROADCASTING);
            listen(consumer, received);
            consumer.start();
            all.add(received);
            consumers.add(consumer);
        }
        for (int i = 0; i < 10; i++) {
            producer.send(message(topic, "m" + i));
        }
        for (Received received : all) {
            until("ten messages", () -> received.bodies().stream().filter(b -> b.startsWith("m")).count() == 10);
        }
        consumers.forEach(DefaultMQPushConsumer::shutdown);
        producer.shutdown();
    }

    private static void pulling(String topic) throws Exception {
        DefaultMQProducer producer = producer(topic);
        for (int i = 0; i < 10; i++) {
            producer.send(message(topic, "m" + i));
        }
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(topic + "-group");
        consumer.setNamesrvAddr(nameServer);
        consumer.start();
        Set<String> bodies = new TreeSet<>();
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
            expect(consumer.minOffset(queue) == 0, "minimum " + consumer.minOffset(queue));
            long end = consumer.maxOffset(queue);
            long next = 0;
            while (next < end) {
                PullResult pulled = consumer.pull(queue, "*", next, 2);
                expect(pulled.getPullStatus() == PullStatus.FOUND, "status " + pulled.getPullStatus());
                pulled.getMsgFoundList().forEach(message -> bodies.add(body(message)));
                next = pulled.getNextBeginOffset();
            }
            consumer.updateConsumeOffset(queue, next);
            consumer.getOffsetStore().persist(queue);
            expect(consumer.fetchConsumeOffset(queue, true) == end, "place " + consumer.fetchConsumeOffset(queue, true));
        }
        expect(bodies.size() == 10, "got " + bodies);
        MessageQueue queue = consumer.fetchSubscribeMessageQueues(topic).iterator().next();
        CompletableFuture<PullResult> waiting = CompletableFuture.supplyAsync(() -> {
            try {
                return consumer.pullBlockIfNotFound(queue, "*", consumer.maxOffset(queue), 32);
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        });
        while (!waiting.isDone()) {
            producer.send(message(topic, "woken"), queue);
            Thread.sleep(50);
        }
        expect(waiting.get().getPullStatus() == PullStatus.FOUND, "status " + waiting.get().getPullStatus());
        consumer.shutdown();
        producer.shutdown();
    }

    private static void lookup(String topic) throws Exception {
        DefaultMQProducer producer = producer(topic);
        Message message = message(topic, "wanted");
        message.setKeys("key");
        long before = System.currentTimeMillis();
        SendResult sent = producer.send(message);
        expect(body(producer.viewMessage(sent.getOffsetMsgId())).equals("wanted"), "another one by its place");
        expect(body(producer.viewMessage(topic, sent.getMsgId())).equals("wanted"), "another one by its id");
        List<MessageExt> found =
            producer.queryMessage(topic, "key", 32, 0, Long.MAX_VALUE).getMessageList();
        expect(found.size() == 1 && body(found.get(0)).equals("wanted"), "by its key: " + found);
        MessageQueue queue = sent.getMessageQueue();
        expect(producer.searchOffset(queue, before) == sent.getQueueOffset(), "another one by its time");
        expect(producer.earliestMsgStoreTime(queue) >= before, "stored before it was sent");
        producer.shutdown();
    }

    private static void traced(String topic) throws Exception {
        // In 4.4.0 only the first traced client of a process is traced.
        DefaultMQProducer producer = producer(topic);
        SendResult sent = producer.send(message(topic, "traced"));
        Received received = new Received();
        DefaultMQPushConsumer consumer = concurrent(topic, "one", received, true);
        until("the message", () -> received.bodies().size() == 1);
        DefaultMQPullConsumer reader = new DefaultMQPullConsumer(topic + "-reader");
        reader.setNamesrvAddr(nameServer);
        reader.start();
        // 4.4.0 drops what it has not told yet when it ends, so it lives until everything is there.
        Set<String> want = new TreeSet<>(Arrays.asList("SubBefore", "SubAfter"));
        until("its two parts", () -> traceParts(reader, sent.getMsgId()).equals(want));
        reader.shutdown();
        consumer.shutdown();
        producer.shutdown();
    }

    /** What has been said of a message so far. */
    private static Set<String> traceParts(DefaultMQPullConsumer reader, String msgId) {
        Set<String> said = new TreeSet<>();
        try {
            for (MessageQueue queue : reader.fetchSubscribeMessageQueues("RMQ_SYS_TRACE_TOPIC")) {
                PullResult pulled = reader.pull(queue, "*", 0, 32);
                if (pulled.getPullStatus() != PullStatus.FOUND) {
                    continue;
                }
                for (MessageExt trace : pulled.getMsgFoundList()) {
                    for (String part : body(trace).split("\u0002")) {
                        expect(part.contains(msgId), "a part of another message: " + part);
                        said.add(part.split("\u0001")[0]);
                    }
                }
            }
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
        return said;
    }

    private static void made(String topic) throws Exception {
        DefaultMQProducer producer = producer(topic);
        producer.createTopic("TBW102", topic, 3);
        expect(producer.fetchPublishMessageQueues(topic).size() == 3, "other queues");
        try {
            producer.fetchPublishMessageQueues(topic + "Missing");
            throw new IllegalStateException("a topic that nobody made has queues");
        } catch (MQClientException expected) {
            // As it should be.
        }
        producer.shutdown();
    }

    private static DefaultMQProducer producer(String topic) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(topic + "-producer");
        producer.setNamesrvAddr(nameServer);
        producer.start();
        return producer;
    }

    private static DefaultMQPushConsumer consumer(String topic, String instance, boolean isTraced) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(topic + "-group", isTraced);
        consumer.setNamesrvAddr(nameServer);
        // Clients of one process and one group need names of their own.
        consumer.setInstanceName(topic + "-" + instance);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        return consumer;
    }

    private static DefaultMQPushConsumer concurrent(String topic, String instance, Received received, boolean isTraced)
        throws Exception {
        DefaultMQPushConsumer consumer = consumer(topic, instance, isTraced);
        listen(consumer, received);
        consumer.start();
        return consumer;
    }

    private static void listen(DefaultMQPushConsumer consumer, Received received) {
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(received::add);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
    }

    private static Message message(String topic, String body) {
        return new Message(topic, body.getBytes(StandardCharsets.UTF_8));
    }

    private static String body(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    static void expect(boolean isTrue, String what) {
        if (!isTrue) {
            throw new IllegalStateException(what);
        }
    }

    static void until(String what, BooleanSupplier isTrue) throws InterruptedException {
        long end = System.currentTimeMillis() + WAIT_MS_MAX;
        while (!isTrue.getAsBoolean()) {
            expect(System.currentTimeMillis() < end, what + " did not come");
            Thread.sleep(20);
        }
    }

    /** What a consumer got, in its order. */
    private static final class Received {
        private final List<MessageExt> messages = Collections.synchronizedList(new ArrayList<>());

        void add(MessageExt message) {
            messages.add(message);
        }

        MessageExt at(int index) {
            return messages.get(index);
        }

        MessageExt get(String body) {
            synchronized (messages) {
                return messages.stream().filter(message -> body(message).equals(body)).findFirst().orElseThrow();
            }
        }

        List<String> bodies() {
            synchronized (messages) {
                List<String> bodies = new ArrayList<>();
                messages.forEach(message -> bodies.add(body(message)));
                return bodies;
            }
        }
    }

    private Main() {
    }
}

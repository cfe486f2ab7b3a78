package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Sends {@code count} messages in the given {@code mode}: sync, async, oneway, batch, ordered or steady. In the mode
 * fetch it sends nothing and only asks which queues the topic has.
 */
final class Produce {
    private static final long PAUSE_MS = 50;

    static void run(Options options, Events events) throws Exception {
        DefaultMQProducer producer =
            new DefaultMQProducer(options.text("group", "PG_JAVA"), options.hook());
        producer.setNamesrvAddr(options.text("nameServer"));
        producer.setEnableTrace(options.flag("trace"));
        producer.setSendMsgTimeout(10_000);
        producer.start();
        try {
            send(producer, options, messages(options), events);
            events.done();
        } finally {
            Closing.run(producer::shutdown);
        }
    }

    private static List<Message> messages(Options options) {
        int count = options.number("count", 1);
        int bodyBytes = options.number("bodyBytes", 0);
        String[] tags = options.text("tags", "").split(",");
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String text = options.text("body", "message") + "-" + i;
            StringBuilder body = new StringBuilder(text);
            while (body.length() < bodyBytes) {
                body.append('.');
            }
            Message message = new Message(options.text("topic"), tags[i % tags.length],
                "key-" + i, body.toString().getBytes(StandardCharsets.UTF_8));
            message.putUserProperty("index", String.valueOf(i));
            message.putUserProperty("text", "grüße \u4e2d\u6587 \ud83d\ude00");
            if (options.number("delayLevel", 0) > 0) {
                message.setDelayTimeLevel(options.number("delayLevel", 0));
            }
            if (options.number("delayMs", 0) > 0) {
                message.setDelayTimeMs(options.number("delayMs", 0));
            }
            messages.add(message);
        }
        return messages;
    }

    private static void send(DefaultMQProducer producer, Options options, List<Message> messages,
        Events events) throws Exception {
        switch (options.text("mode", "sync")) {
            case "sync":
                for (int i = 0; i < messages.size(); i++) {
                    events.sent(i, producer.send(messages.get(i)));
                }
                break;
            case "steady":
                sendSteadily(producer, messages, events);
                break;
            case "ordered":
                for (int i = 0; i < messages.size(); i++) {
                    int key = i % options.number("keys", 4);
                    SendResult result = producer.send(messages.get(i),
                        (queues, message, arg) -> queues.get((Integer) arg % queues.size()), key);
                    events.sent(i, result);
                }
                break;
            case "oneway":
                for (Message message : messages) {
                    producer.sendOneway(message);
                }
                untilRead(producer, options.text("topic"));
                break;
            case "batch":
                events.sent(0, producer.send(messages));
                break;
            case "fetch":
                producer.fetchPublishMessageQueues(options.text("topic"));
                break;
            case "async":
                sendAsync(producer, messages, events);
                break;
            default:
                throw new IllegalArgumentException("no mode " + options.text("mode"));
        }
    }

    /** One after the other, each again and again until it is taken. */
    private static void sendSteadily(DefaultMQProducer producer, List<Message> messages,
        Events events) throws InterruptedException {
        for (int i = 0; i < messages.size(); ) {
            try {
                events.sent(i, producer.send(messages.get(i)));
                i++;
            } catch (Exception failed) {
                // No broker takes it just now.
            }
            Thread.sleep(PAUSE_MS);
        }
    }

    /** What the broker answers on the same connection it answers after it read all that came before. */
    private static void untilRead(DefaultMQProducer producer, String topic) {
        try {
            producer.maxOffset(new MessageQueue(topic, "broker-a", 0));
        } catch (MQClientException refused) {
            // An answer, too: the topic may not be there yet.
        }
    }

    private static void sendAsync(DefaultMQProducer producer, List<Message> messages,
        Events events) throws Exception {
        CountDownLatch left = new CountDownLatch(messages.size());
        for (int i = 0; i < messages.size(); i++) {
            int index = i;
            producer.send(messages.get(i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    events.sent(index, result);
                    left.countDown();
                }

                @Override
                public void onException(Throwable error) {
                    events.failed(error);
                    left.countDown();
                }
            });
        }
        left.await();
    }

    private Produce() {
    }
}

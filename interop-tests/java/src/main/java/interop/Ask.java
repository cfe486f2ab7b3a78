package interop;

import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Asks by {@code request}, or answers what others ask, by {@code createReplyMessage}. */
final class Ask {
    private static final long REPLY_MS = 60_000;

    /** Prints the reply. */
    static void request(Options options, Events events) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("PG_ASK");
        producer.setInstanceName(options.instance());
        producer.setNamesrvAddr(options.text("nameServer"));
        producer.start();
        byte[] body = options.text("body").getBytes(StandardCharsets.UTF_8);
        events.got((MessageExt) producer.request(new Message(options.text("topic"), body), REPLY_MS));
        producer.shutdown();
    }

    /** Until it is stopped. */
    static void respond(Options options, Events events) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("PG_RESPOND");
        producer.setInstanceName(options.instance());
        producer.setNamesrvAddr(options.text("nameServer"));
        producer.start();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("RESPONDERS");
        consumer.setNamesrvAddr(options.text("nameServer"));
        consumer.setInstanceName(options.instance());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(options.text("topic"), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            try {
                for (MessageExt request : messages) {
                    byte[] body = options.text("body").getBytes(StandardCharsets.UTF_8);
                    Message reply = MessageUtil.createReplyMessage(request, body);
                    reply.putUserProperty("by", "java");
                    producer.send(reply, REPLY_MS);
                    events.got(request);
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            } catch (Exception error) {
                events.failed(error);
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
        });
        consumer.start();
        events.ready();
        events.untilStopped();
        consumer.shutdown();
        producer.shutdown();
    }

    private Ask() {
    }
}

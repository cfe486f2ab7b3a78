package interop;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.AllocateMessageQueueStrategy;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragelyByCircle;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueConsistentHash;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** Consumes until it is to stop. The first {@code failures} deliveries of each message fail. */
final class PushConsume {
    static void run(Options options, Events events) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(options.text("group"),
            options.hook(), strategy(options.text("strategy", "average")));
        consumer.setNamesrvAddr(options.text("nameServer"));
        consumer.setEnableTrace(options.flag("trace"));
        consumer.setInstanceName(options.instance());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // Else it commits offsets while listeners still run, and what they finish comes again.
        consumer.setAwaitTerminationMillisWhenShutdown(5_000);
        consumer.setClientRebalance(!options.flag("brokerRebalance"));
        if (options.number("popInvisibleTime", 0) > 0) {
            consumer.setPopInvisibleTime(options.number("popInvisibleTime", 0));
        }
        if (options.flag("broadcasting")) {
            consumer.setMessageModel(MessageModel.BROADCASTING);
        }
        if (options.number("maxReconsumeTimes", -1) >= 0) {
            consumer.setMaxReconsumeTimes(options.number("maxReconsumeTimes", -1));
        }
        String sql = options.text("sql", "");
        MessageSelector selector = sql.isEmpty()
            ? MessageSelector.byTag(options.text("expression", "*"))
            : MessageSelector.bySql(sql);
        consumer.subscribe(options.text("topic"), selector);
        int failures = options.number("failures", 0);
        Map<String, Integer> deliveries = new ConcurrentHashMap<>();
        if (options.flag("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                for (MessageExt message : messages) {
                    if (options.flag("bodiesOnly")) {
                        events.gotBody(message);
                    } else {
                        events.got(message);
                    }
                    if (deliveries.merge(message.getMsgId(), 1, Integer::sum) <= failures) {
                        return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                    }
                }
                return ConsumeOrderlyStatus.SUCCESS;
            });
        } else {
            int delayLevel = options.number("retryLevel", 0);
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                context.setDelayLevelWhenNextConsume(delayLevel);
                for (MessageExt message : messages) {
                    if (options.flag("bodiesOnly")) {
                        events.gotBody(message);
                    } else {
                        events.got(message);
                    }
                    if (deliveries.merge(message.getMsgId(), 1, Integer::sum) <= failures) {
                        return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                    }
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }
        consumer.start();
        events.ready();
        events.untilStopped();
        Closing.run(consumer::shutdown);
        events.done();
    }

    private static AllocateMessageQueueStrategy strategy(String name) {
        switch (name) {
            case "average":
                return new AllocateMessageQueueAveragely();
            case "circle":
                return new AllocateMessageQueueAveragelyByCircle();
            case "hash":
                return new AllocateMessageQueueConsistentHash();
            default:
                throw new IllegalArgumentException("no strategy " + name);
        }
    }

    private PushConsume() {
    }
}

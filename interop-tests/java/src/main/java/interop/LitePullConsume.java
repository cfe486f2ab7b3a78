package interop;

import java.util.Collection;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Polls until it is to stop, by subscription or with every queue assigned, from the beginning. */
final class LitePullConsume {
    static void run(Options options, Events events) throws Exception {
        DefaultLitePullConsumer consumer =
            new DefaultLitePullConsumer(options.text("group"), options.hook());
        consumer.setNamesrvAddr(options.text("nameServer"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        String topic = options.text("topic");
        if (options.flag("assign")) {
            consumer.start();
            Collection<MessageQueue> queues = consumer.fetchMessageQueues(topic);
            // It begins where CONSUME_FROM_FIRST_OFFSET says: a seek right after an assignment may
            // lose what the first pull brings.
            consumer.assign(queues);
        } else {
            consumer.subscribe(topic, options.text("expression", "*"));
            consumer.start();
        }
        events.ready();
        AtomicBoolean isOver = new AtomicBoolean();
        Thread polling = new Thread(() -> {
            while (!isOver.get()) {
                for (MessageExt message : consumer.poll(500)) {
                    events.got(message);
                }
            }
        });
        polling.start();
        events.untilStopped();
        isOver.set(true);
        polling.join();
        consumer.commitSync();
        Closing.run(consumer::shutdown);
        events.done();
    }

    private LitePullConsume() {
    }
}

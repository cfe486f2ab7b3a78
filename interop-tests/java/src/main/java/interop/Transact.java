package interop;

import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Sends one message in a transaction for each word of {@code local}: commit, rollback or unknown, which is
 * its body and what the local transaction says. What it is asked about it answers with {@code check}, until it
 * is to stop.
 */
final class Transact {
    static void run(Options options, Events events) throws Exception {
        TransactionMQProducer producer =
            new TransactionMQProducer(options.text("group", "PG_TX"), options.hook());
        producer.setNamesrvAddr(options.text("nameServer"));
        producer.setInstanceName(options.instance());
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object word) {
                return stateOf((String) word);
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                events.check(message);
                return stateOf(options.text("check", "unknown"));
            }
        });
        producer.start();
        int index = 0;
        for (String word : options.text("local", "").split(",")) {
            if (word.isEmpty()) {
                continue;
            }
            Message message = new Message(options.text("topic"), "", "key-" + index,
                word.getBytes(StandardCharsets.UTF_8));
            events.sent(index++, producer.sendMessageInTransaction(message, word));
        }
        // After a send there is a broker for the heartbeat, which else comes within 30 s.
        producer.getDefaultMQProducerImpl().getMqClientFactory().sendHeartbeatToAllBrokerWithLock();
        events.ready();
        events.untilStopped();
        Closing.run(producer::shutdown);
    }

    private static LocalTransactionState stateOf(String word) {
        switch (word) {
            case "commit":
                return LocalTransactionState.COMMIT_MESSAGE;
            case "rollback":
                return LocalTransactionState.ROLLBACK_MESSAGE;
            default:
                return LocalTransactionState.UNKNOW;
        }
    }

    private Transact() {
    }
}

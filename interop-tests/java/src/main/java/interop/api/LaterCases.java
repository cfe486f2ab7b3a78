package interop.api;

import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** What arrives later, or only on a condition: delays, transactions, replies. */
final class LaterCases {
    /** The responder takes its queues first. */
    private static final int REPLY_MS = 100_000;

    static void addTo(Map<String, Case> cases) {
        cases.put("a delay by level", cluster -> {
            Message message = new Message("", Cluster.bytes("later"));
            message.setDelayTimeLevel(1);
            return later(cluster, message, 1000);
        });
        cases.put("a delay in milliseconds", cluster -> {
            Message message = new Message("", Cluster.bytes("later"));
            message.setDelayTimeMs(1500);
            return later(cluster, message, 1500);
        });
        cases.put("a delay in seconds", cluster -> {
            Message message = new Message("", Cluster.bytes("later"));
            message.setDelayTimeSec(1);
            return later(cluster, message, 1000);
        });
        cases.put("a time of delivery that is over", cluster -> {
            Message message = new Message("", Cluster.bytes("now"));
            message.setDeliverTimeMs(System.currentTimeMillis() - 60_000);
            return later(cluster, message, 0);
        });
        cases.put("a time of delivery that is too far", cluster -> {
            Message message = Cluster.message(cluster.topic(1), 0);
            message.setDeliverTimeMs(System.currentTimeMillis() + 4 * 86_400_000L);
            return cluster.producer.send(message).getSendStatus();
        });
        cases.put("a timer's recall handle", cluster -> {
            Message message = Cluster.message(cluster.topic(1), 0);
            message.setDelayTimeMs(60_000);
            SendResult result = cluster.producer.send(message);
            return result.getRecallHandle() != null;
        });
        cases.put("a recall", cluster -> {
            String topic = cluster.topic(1);
            Message message = Cluster.message(topic, 0);
            message.setDelayTimeMs(60_000);
            String handle = cluster.producer.send(message).getRecallHandle();
            cluster.producer.recallMessage(topic, handle);
            return "recalled";
        });
        cases.put("a recall of one of two", cluster -> {
            String topic = cluster.topic(1);
            String handle = null;
            for (int i = 0; i < 2; i++) {
                Message message = Cluster.message(topic, i);
                message.setDelayTimeMs(5000);
                SendResult result = cluster.producer.send(message);
                handle = handle == null ? result.getRecallHandle() : handle;
            }
            cluster.producer.recallMessage(topic, handle);
            cluster.producer.recallMessage(topic, handle);
            String came = Cluster.text(BodyCases.one(cluster, topic).getBody());
            Thread.sleep(2000);
            return came + ", " + cluster.stored(topic) + " stored";
        });
        cases.put("a recall of what is delivered", cluster -> {
            String topic = cluster.topic(1);
            Message message = Cluster.message(topic, 0);
            message.setDelayTimeMs(1000);
            String handle = cluster.producer.send(message).getRecallHandle();
            BodyCases.one(cluster, topic);
            Thread.sleep(2000);
            return cluster.producer.recallMessage(topic, handle);
        });
        cases.put("a recall without a handle", cluster ->
            cluster.producer.recallMessage(cluster.topic(1), null));
        cases.put("a transaction that commits", cluster ->
            transaction(cluster, LocalTransactionState.COMMIT_MESSAGE));
        cases.put("a transaction that rolls back", cluster ->
            transaction(cluster, LocalTransactionState.ROLLBACK_MESSAGE));
        cases.put("a transaction that is checked", cluster ->
            transaction(cluster, LocalTransactionState.UNKNOW));
        cases.put("a transaction with a delay", cluster -> {
            TransactionMQProducer producer = transactional(cluster, LocalTransactionState.COMMIT_MESSAGE);
            try {
                Message message = Cluster.message(cluster.topic(1), 0);
                message.setDelayTimeLevel(1);
                return producer.sendMessageInTransaction(message, null).getSendStatus();
            } finally {
                producer.shutdown();
            }
        });
        cases.put("a request and its reply", cluster -> {
            String topic = cluster.topic(1);
            DefaultMQPushConsumer responder = responder(cluster, topic);
            DefaultMQProducer requester = cluster.producer();
            requester.start();
            try {
                Message reply = requester.request(Cluster.message(topic, 3), REPLY_MS);
                MessageExt full = (MessageExt) reply;
                return Cluster.text(reply.getBody()) + " " + reply.getProperty("MSG_TYPE") + " "
                    + reply.getTopic() + " " + reply.getUserProperty("own") + " "
                    + (reply.getProperty("PUSH_REPLY_TIME") != null) + " "
                    + (reply.getProperty("ARRIVE_TIME") != null) + " " + full.getFlag();
            } finally {
                requester.shutdown();
                responder.shutdown();
            }
        });
        cases.put("an asynchronous request", cluster -> {
            String topic = cluster.topic(1);
            DefaultMQPushConsumer responder = responder(cluster, topic);
            CompletableFuture<Message> reply = new CompletableFuture<>();
            DefaultMQProducer requester = cluster.producer();
            requester.start();
            requester.request(Cluster.message(topic, 4), new RequestCallback() {
                @Override
                public void onSuccess(Message message) {
                    // It is called without one as soon as the request is stored.
                    if (message != null) {
                        reply.complete(message);
                    }
                }

                @Override
                public void onException(Throwable error) {
                    reply.completeExceptionally(error);
                }
            }, REPLY_MS);
            try {
                return Cluster.text(reply.get(100, TimeUnit.SECONDS).getBody());
            } finally {
                requester.shutdown();
                responder.shutdown();
            }
        });
        cases.put("a request to a queue chosen by the sender", cluster -> {
            String topic = cluster.topic(4);
            DefaultMQPushConsumer responder = responder(cluster, topic);
            DefaultMQProducer requester = cluster.producer();
            requester.start();
            try {
                return Cluster.text(requester.request(Cluster.message(topic, 5),
                    (queues, message, arg) -> queues.get((Integer) arg), 2, REPLY_MS).getBody());
            } finally {
                requester.shutdown();
                responder.shutdown();
            }
        });
        cases.put("a request without a responder", cluster ->
            cluster.producer.request(Cluster.message(cluster.topic(1), 0), 10_000));
        cases.put("a reply to a client that is gone", cluster -> {
            Message request = Cluster.message(cluster.topic(1), 0);
            MessageExt asked = new MessageExt();
            asked.setTopic(request.getTopic());
            asked.setBody(request.getBody());
            asked.putUserProperty("x", "y");
            asked.getProperties().put("CLUSTER", "DefaultCluster");
            asked.getProperties().put("REPLY_TO_CLIENT", "10.0.0.1@gone");
            asked.getProperties().put("CORRELATION_ID", "no-such-request");
            asked.getProperties().put("TTL", "3000");
            Message reply = MessageUtil.createReplyMessage(asked, Cluster.bytes("late"));
            return cluster.producer.send(reply).getSendStatus();
        });
    }

    private static Object later(Cluster cluster, Message message, long delayMs) throws Exception {
        String topic = cluster.topic(1);
        message.setTopic(topic);
        long sentMs = System.currentTimeMillis();
        String status = cluster.producer.send(message).getSendStatus().name();
        MessageExt got = BodyCases.one(cluster, topic);
        long tookMs = got.getStoreTimestamp() - sentMs;
        return status + (tookMs >= delayMs ? "" : " early by " + (delayMs - tookMs))
            + (tookMs <= delayMs + 5000 ? "" : " late by " + (tookMs - delayMs)) + " " + got.getTopic().equals(topic)
            + " level " + got.getDelayTimeLevel() + " real topic " + (got.getProperty("REAL_TOPIC") != null);
    }

    private static TransactionMQProducer transactional(Cluster cluster, LocalTransactionState first)
        throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(cluster.name("PG"));
        producer.setNamesrvAddr(cluster.nameServer);
        producer.setInstanceName(cluster.name("transactional"));
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object arg) {
                return first;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        producer.start();
        return producer;
    }

    /** What its queue has in the end; a check may take 36 s. */
    private static Object transaction(Cluster cluster, LocalTransactionState first) throws Exception {
        TransactionMQProducer producer = transactional(cluster, first);
        try {
            String topic = cluster.topic(1);
            String sent = producer.sendMessageInTransaction(Cluster.message(topic, 0), null)
                .getLocalTransactionState().name();
            int due = first == LocalTransactionState.ROLLBACK_MESSAGE ? 0 : 1;
            if (due == 0) {
                Thread.sleep(3000);
            }
            Cluster.until(80_000, () -> ProducerCases.stored(cluster, topic) == due);
            return sent + " " + ProducerCases.stored(cluster, topic);
        } finally {
            producer.shutdown();
        }
    }

    /** Answers each request with its body in capitals. */
    private static DefaultMQPushConsumer responder(Cluster cluster, String topic) throws Exception {
        DefaultMQProducer replier = cluster.producer();
        replier.start();
        DefaultMQPushConsumer consumer = cluster.push();
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                try {
                    byte[] body = Cluster.bytes(Cluster.text(message.getBody()).toUpperCase());
                    Message reply = MessageUtil.createReplyMessage(message, body);
                    reply.putUserProperty("own", "kept");
                    replier.send(reply, 3000);
                } catch (Exception failed) {
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private LaterCases() {
    }
}

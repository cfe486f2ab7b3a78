package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.RPCHook;

/** A client whose requests are signed, of a broker that serves no others. */
final class Signed {
    private static final int NO_PERMISSION = 16;

    private final String nameServer;
    private final String accessKey;
    private final String secretKey;

    Signed(String nameServer, String accessKey, String secretKey) {
        this.nameServer = nameServer;
        this.accessKey = accessKey;
        this.secretKey = secretKey;
    }

    void exchange(String topic) throws Exception {
        send(topic, hook(secretKey), "grüße 中文");
        List<String> bodies = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(topic + "-group", hook(secretKey),
            new AllocateMessageQueueAveragely());
        consumer.setNamesrvAddr(nameServer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> bodies.add(new String(message.getBody(), StandardCharsets.UTF_8)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Main.until("the message", () -> bodies.contains("grüße 中文"));
        consumer.shutdown();
    }

    void wrongSecret(String topic) throws Exception {
        refused(topic, hook(secretKey + "x"));
    }

    void unsigned(String topic) throws Exception {
        refused(topic, null);
    }

    private void refused(String topic, RPCHook hook) throws Exception {
        try {
            send(topic, hook, "refused");
        } catch (MQClientException failure) {
            Throwable refusal = failure.getCause();
            boolean isRefused = refusal instanceof MQBrokerException
                && ((MQBrokerException) refusal).getResponseCode() == NO_PERMISSION;
            Main.expect(isRefused, String.valueOf(refusal));
            return;
        }
        throw new IllegalStateException("it was served");
    }

    private void send(String topic, RPCHook hook, String body) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(topic + "-producer", hook);
        producer.setNamesrvAddr(nameServer);
        producer.setRetryTimesWhenSendFailed(0);
        producer.start();
        try {
            producer.send(new Message(topic, "TagA", body.getBytes(StandardCharsets.UTF_8)));
        } finally {
            producer.shutdown();
        }
    }

    private RPCHook hook(String secret) {
        return new AclClientRPCHook(new SessionCredentials(accessKey, secret));
    }
}

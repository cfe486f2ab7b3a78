package interop;

import com.alibaba.fastjson2.JSON;
import java.io.IOException;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;

/** What happened, one line of JSON each. */
final class Events {
    static void sent(int index, SendResult result) {
        Map<String, Object> event = event("sent");
        event.put("index", index);
        event.put("status", result.getSendStatus().name());
        event.put("msgId", result.getMsgId());
        event.put("offsetMsgId", result.getOffsetMsgId());
        event.put("queueId", result.getMessageQueue().getQueueId());
        event.put("queueOffset", result.getQueueOffset());
        print(event);
    }

    /** The broker asks what became of a transaction. */
    static void check(MessageExt message) {
        received("check", message);
    }

    static void got(MessageExt message) {
        received("got", message);
    }

    private static void received(String name, MessageExt message) {
        Map<String, Object> event = event(name);
        event.put("msgId", message.getMsgId());
        event.put("topic", message.getTopic());
        event.put("queueId", message.getQueueId());
        event.put("queueOffset", message.getQueueOffset());
        event.put("reconsumeTimes", message.getReconsumeTimes());
        event.put("tag", message.getTags());
        event.put("keys", message.getKeys());
        event.put("properties", message.getProperties());
        event.put("body", Base64.getEncoder().encodeToString(message.getBody()));
        event.put("delayMs", System.currentTimeMillis() - message.getBornTimestamp());
        print(event);
    }

    /** Of many messages: the body is all that counts. */
    static void gotBody(MessageExt message) {
        Map<String, Object> event = event("got");
        event.put("body", Base64.getEncoder().encodeToString(message.getBody()));
        print(event);
    }

    static void ready() {
        print(event("ready"));
    }

    static void done() {
        print(event("done"));
    }

    static void failed(Throwable error) {
        Map<String, Object> event = event("failed");
        event.put("error", error.getClass().getSimpleName());
        event.put("message", String.valueOf(error.getMessage()));
        event.put("cause", String.valueOf(error.getCause()));
        if (error instanceof MQBrokerException) {
            event.put("code", ((MQBrokerException) error).getResponseCode());
        } else if (error instanceof MQClientException) {
            event.put("code", ((MQClientException) error).getResponseCode());
        }
        print(event);
    }

    static void untilInputEnds() throws IOException {
        while (System.in.read() != -1) {
            // What is written there has no meaning.
        }
    }

    private static Map<String, Object> event(String name) {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("event", name);
        return event;
    }

    private static synchronized void print(Map<String, Object> event) {
        System.out.println(JSON.toJSONString(event));
        System.out.flush();
    }

    private Events() {
    }
}

package interop;

import com.alibaba.fastjson2.JSON;
import java.io.PrintStream;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;

/** What happened in one scenario, one line of JSON each; and whether it is to stop. */
final class Events {
    private final int id;
    private final PrintStream out;
    private final CountDownLatch stopped = new CountDownLatch(1);

    Events(int id, PrintStream out) {
        this.id = id;
        this.out = out;
    }

    void stop() {
        stopped.countDown();
    }

    void untilStopped() throws InterruptedException {
        stopped.await();
    }

    void sent(int index, SendResult result) {
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
    void check(MessageExt message) {
        received("check", message);
    }

    void got(MessageExt message) {
        received("got", message);
    }

    private void received(String name, MessageExt message) {
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
    void gotBody(MessageExt message) {
        Map<String, Object> event = event("got");
        event.put("body", Base64.getEncoder().encodeToString(message.getBody()));
        print(event);
    }

    void ready() {
        print(event("ready"));
    }

    void done() {
        print(event("done"));
    }

    void ended() {
        print(event("ended"));
    }

    /** What mqadmin printed. */
    void printed(String output, boolean hasEnded) {
        Map<String, Object> event = event("printed");
        event.put("hasEnded", hasEnded);
        event.put("output", output);
        print(event);
    }

    /** One case of the API. */
    void answered(String name, String answer) {
        Map<String, Object> event = event("case");
        event.put("name", name);
        event.put("answer", answer);
        print(event);
    }

    void failed(Throwable error) {
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

    private Map<String, Object> event(String name) {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("event", name);
        event.put("id", id);
        return event;
    }

    private void print(Map<String, Object> event) {
        synchronized (out) {
            out.println(JSON.toJSONString(event));
            out.flush();
        }
    }
}

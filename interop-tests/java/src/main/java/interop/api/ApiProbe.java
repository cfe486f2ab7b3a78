package interop.api;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BiConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;

/**
 * Asks a cluster what the public API of the Java client lets an application ask: each case by its name
 * and its answer. {@code only}: cases whose name begins so.
 */
public final class ApiProbe {
    private static final int AT_ONCE = 24;
    private static final int CASE_S_MAX = 150;

    public static void run(String nameServer, String only, BiConsumer<String, String> answered)
        throws Exception {
        Map<String, Case> cases = new LinkedHashMap<>();
        ProducerCases.addTo(cases);
        BodyCases.addTo(cases);
        LaterCases.addTo(cases);
        PushCases.addTo(cases);
        StartCases.addTo(cases);
        PullCases.addTo(cases);
        LiteCases.addTo(cases);
        AdminCases.addTo(cases);
        TopicCases.addTo(cases);
        if (only.startsWith("lmq")) {
            // Of a broker that has them switched on.
            LmqCases.addTo(cases);
        }
        Cluster cluster = new Cluster(nameServer);
        ExecutorService askers = Executors.newFixedThreadPool(AT_ONCE);
        ExecutorService timed = Executors.newCachedThreadPool();
        cases.forEach((name, question) -> {
            if (name.startsWith(only)) {
                askers.execute(() ->
                    answered.accept(name, answer(timed.submit(() -> question.ask(cluster)))));
            }
        });
        askers.shutdown();
        askers.awaitTermination(10, TimeUnit.MINUTES);
        timed.shutdown();
        cluster.end();
    }

    private static String answer(Future<Object> asked) {
        try {
            return String.valueOf(asked.get(CASE_S_MAX, TimeUnit.SECONDS));
        } catch (TimeoutException late) {
            asked.cancel(true);
            return "no answer within " + CASE_S_MAX + " s";
        } catch (Exception failure) {
            return error(failure.getCause() == null ? failure : failure.getCause());
        }
    }

    /** Its class and code: words differ between brokers. */
    static String error(Throwable error) {
        String name = error.getClass().getSimpleName();
        if (error instanceof MQBrokerException) {
            return name + " " + ((MQBrokerException) error).getResponseCode();
        }
        if (error instanceof MQClientException) {
            Throwable cause = error.getCause();
            return name + " " + ((MQClientException) error).getResponseCode()
                + (cause == null ? "" : " by " + error(cause));
        }
        return name;
    }

    private ApiProbe() {
    }
}

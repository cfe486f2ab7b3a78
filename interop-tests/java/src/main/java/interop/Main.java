package interop;

import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONObject;
import interop.api.ApiProbe;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Runs scenarios side by side, each a client of its own: a line of input {@code {"id":1,"scenario":"push",
 * "options":{...}}} begins one, {@code {"id":1}} asks it to stop. Everything that a test needs to know is a line of
 * JSON on standard output with the id of its scenario; the last one is {@code ended}. All ends with standard input.
 */
public final class Main {
    public static void main(String[] args) throws Exception {
        // mqadmin writes to whatever standard output is at the moment.
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        Map<Integer, Events> running = new ConcurrentHashMap<>();
        BufferedReader input =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JSONObject words = JSON.parseObject(line);
            int id = words.getIntValue("id");
            String scenario = words.getString("scenario");
            if (scenario == null) {
                Events events = running.get(id);
                if (events != null) {
                    events.stop();
                }
                continue;
            }
            Events events = new Events(id, out);
            running.put(id, events);
            Options options = new Options(id, words.getJSONObject("options"));
            new Thread(() -> {
                try {
                    run(scenario, options, events);
                } catch (Throwable error) {
                    events.failed(error);
                }
                running.remove(id);
                events.ended();
            }, scenario + " " + id).start();
        }
        System.exit(0);
    }

    private static void run(String scenario, Options options, Events events) throws Exception {
        switch (scenario) {
            case "produce":
                Produce.run(options, events);
                break;
            case "push":
                PushConsume.run(options, events);
                break;
            case "lite-pull":
                LitePullConsume.run(options, events);
                break;
            case "transact":
                Transact.run(options, events);
                break;
            case "request":
                Ask.request(options, events);
                break;
            case "respond":
                Ask.respond(options, events);
                break;
            case "api":
                ApiProbe.run(options.text("nameServer"), options.text("only", ""), events::answered);
                break;
            case "filter":
                Filter.run(options, events);
                break;
            case "mqadmin":
                Mqadmin.run(options.words("words"), events);
                break;
            default:
                throw new IllegalArgumentException("no scenario " + scenario);
        }
    }

    private Main() {
    }
}

package interop;

import com.alibaba.fastjson2.JSON;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Runs sub-commands of mqadmin one after the other in one JVM: each line of input is an array of words, each line
 * of output what the command printed. A command that has not ended in time is left to itself.
 */
final class MqadminSession {
    private static final long COMMAND_MS_MAX = 15_000;

    static void run() throws Exception {
        PrintStream answers = System.out;
        BufferedReader input =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            List<String> words = JSON.parseArray(line, String.class);
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            PrintStream out = new PrintStream(printed, true, StandardCharsets.UTF_8);
            System.setOut(out);
            System.setErr(out);
            Thread command =
                new Thread(() -> MQAdminStartup.main0(words.toArray(new String[0]), null));
            command.setDaemon(true);
            command.start();
            command.join(COMMAND_MS_MAX);
            Map<String, Object> event = new LinkedHashMap<>();
            event.put("event", "printed");
            event.put("hasEnded", !command.isAlive());
            event.put("output", printed.toString(StandardCharsets.UTF_8));
            answers.println(JSON.toJSONString(event));
            answers.flush();
            command.interrupt();
        }
    }

    private MqadminSession() {
    }
}

package interop;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** Runs a sub-command of mqadmin. One that has not ended in time is left to itself. */
final class Mqadmin {
    private static final long COMMAND_MS_MAX = 30_000;

    /** One after the other: what they print is standard output's. */
    static synchronized void run(List<String> words, Events events) throws InterruptedException {
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream out = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setOut(out);
        System.setErr(out);
        Thread command =
            new Thread(() -> MQAdminStartup.main0(words.toArray(new String[0]), null));
        command.setDaemon(true);
        command.start();
        Closing.await(command, COMMAND_MS_MAX);
        events.printed(printed.toString(StandardCharsets.UTF_8), !command.isAlive());
        command.interrupt();
    }

    private Mqadmin() {
    }
}

package interop;

import interop.api.ApiProbe;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Runs one scenario: {@code Main <scenario> name=value ...}. Everything that a test needs to know is a line
 * of JSON on standard output; a scenario that waits ends when standard input does.
 */
public final class Main {
    public static void main(String[] args) throws Exception {
        String scenario = args[0];
        if (scenario.equals("mqadmin")) {
            String[] rest = new String[args.length - 1];
            System.arraycopy(args, 1, rest, 0, rest.length);
            MQAdminStartup.main0(rest, null);
            System.exit(0);
        }
        if (scenario.equals("mqadmin-session")) {
            MqadminSession.run();
            System.exit(0);
        }
        Options options = new Options(args);
        try {
            switch (scenario) {
                case "produce":
                    Produce.run(options);
                    break;
                case "push":
                    PushConsume.run(options);
                    break;
                case "lite-pull":
                    LitePullConsume.run(options);
                    break;
                case "transact":
                    Transact.run(options);
                    break;
                case "api":
                    ApiProbe.run(options.text("nameServer"), options.text("only", ""));
                    break;
                default:
                    throw new IllegalArgumentException("no scenario " + scenario);
            }
            System.exit(0);
        } catch (Throwable error) {
            Events.failed(error);
            System.exit(1);
        }
    }

    private Main() {
    }
}

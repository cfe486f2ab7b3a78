package interop;

import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.remoting.RPCHook;

/** The name=value words of the command line. */
final class Options {
    private final Map<String, String> values = new HashMap<>();

    Options(String[] args) {
        for (int i = 1; i < args.length; i++) {
            int at = args[i].indexOf('=');
            values.put(args[i].substring(0, at), args[i].substring(at + 1));
        }
    }

    String text(String name) {
        String value = values.get(name);
        if (value == null) {
            throw new IllegalArgumentException("missing " + name + "=");
        }
        return value;
    }

    String text(String name, String absent) {
        return values.getOrDefault(name, absent);
    }

    int number(String name, int absent) {
        String value = values.get(name);
        return value == null ? absent : Integer.parseInt(value);
    }

    boolean flag(String name) {
        return values.getOrDefault(name, "false").equals("true");
    }

    /** Signs every request when there is an access key. */
    RPCHook hook() {
        String key = values.get("accessKey");
        return key == null ? null : new AclClientRPCHook(new SessionCredentials(key, text("secretKey")));
    }
}

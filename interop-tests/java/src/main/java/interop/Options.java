package interop;

import com.alibaba.fastjson2.JSONObject;
import java.util.List;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.remoting.RPCHook;

/** What a scenario was begun with. */
final class Options {
    private final int id;
    private final JSONObject values;

    Options(int id, JSONObject values) {
        this.id = id;
        this.values = values;
    }

    String text(String name) {
        String value = values.getString(name);
        if (value == null) {
            throw new IllegalArgumentException("missing " + name);
        }
        return value;
    }

    String text(String name, String absent) {
        return values.containsKey(name) ? values.getString(name) : absent;
    }

    int number(String name, int absent) {
        return values.containsKey(name) ? values.getIntValue(name) : absent;
    }

    boolean flag(String name) {
        return values.getBooleanValue(name);
    }

    List<String> words(String name) {
        return values.getList(name, String.class);
    }

    /** Clients of one instance name share a connection; each scenario has its own. */
    String instance() {
        return text("instance", "client") + "-" + id;
    }

    /** Signs every request when there is an access key. */
    RPCHook hook() {
        String key = text("accessKey", null);
        return key == null ? null : new AclClientRPCHook(new SessionCredentials(key, text("secretKey")));
    }
}

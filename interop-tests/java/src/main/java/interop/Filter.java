package interop;

import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONArray;
import com.alibaba.fastjson2.JSONObject;
import java.util.Map;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;

/** Conditions by SQL92, compiled and evaluated by the filter of Apache's broker. */
final class Filter {
    /** Each case is an expression and properties, as JSON; its answer is one word. */
    static void run(Options options, Events events) {
        int index = 0;
        for (String line : options.words("cases")) {
            JSONArray one = JSON.parseArray(line);
            events.answered(String.valueOf(index++), answer(one.getString(0), one.getJSONObject(1)));
        }
    }

    private static String answer(String text, JSONObject properties) {
        Expression condition;
        try {
            condition = FilterFactory.INSTANCE.get("SQL92").compile(text);
        } catch (Throwable refusal) {
            return "refused";
        }
        try {
            Object value = condition.evaluate(new Properties(properties));
            return value instanceof Boolean ? value.toString() : "unknown";
        } catch (Throwable failure) {
            return "failed";
        }
    }

    private static final class Properties implements EvaluationContext {
        private final JSONObject values;

        Properties(JSONObject values) {
            this.values = values;
        }

        @Override
        public Object get(String name) {
            return values.getString(name);
        }

        @Override
        public Map<String, Object> keyValues() {
            return values;
        }
    }

    private Filter() {
    }
}

#!/usr/bin/env bash
# The SQL92 filter of Apache RocketMQ 5.5.0, which its broker compiles a consumer's MessageSelector.bySql with,
# is given expressions whose first part is complete and whose rest is not of its grammar: words of other SQL
# dialects, arithmetic, a parenthesis too many.
#
# Expected: each is refused, as an incomplete expression is, and the consumer does not start.
# Seen: each compiles. The grammar has no end of input, so what follows the first complete expression is left
#   out in silence: "price > 5) AND region = 'eu'" selects by the price alone, "region LIKE 'eu%'" is the
#   condition "region", which is false for every text, and "price > 1 + 8" is "price > 1".
# Why it matters: a selector written for JMS or MySQL passes every check at the start of the consumer and
#   then selects too much or nothing; no log says so.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

cat >pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.rocketmq</groupId>
      <artifactId>rocketmq-filter</artifactId>
      <version>5.5.0</version>
    </dependency>
  </dependencies>
</project>
XML
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory=lib >mvn.log 2>&1 || { cat mvn.log; exit 1; }

cat >Select.java <<'JAVA'
import java.util.Map;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.EvaluationContext;

/** Arguments: an expression, a property's name and its value. Prints what a broker makes of them. */
class Select {
    public static void main(String[] args) throws Exception {
        Map<String, Object> properties = Map.of(args[1], args[2]);
        Object answer;
        try {
            answer = FilterFactory.INSTANCE.get("SQL92").compile(args[0]).evaluate(new EvaluationContext() {
                public Object get(String name) {
                    return properties.get(name);
                }

                public Map<String, Object> keyValues() {
                    return properties;
                }
            });
        } catch (Exception error) {
            answer = error.getClass().getSimpleName();
        }
        System.out.printf("%-28s %s=%-12s %s%n", args[0], args[1], args[2], answer);
    }
}
JAVA
javac -cp 'lib/*' Select.java

ask() { java -cp 'lib/*:.' Select "$1" "$2" "$3" 2>/dev/null; }
{
  ask "price > 5) AND region = 'eu'" price 7
  ask "region LIKE 'eu%'" region eu-west
  ask 'price > 1 + 8' price 7
  ask 'price > 5 AND' price 7
} | tee seen

as_described <<'EXPECTED'
price > 5) AND region = 'eu' price=7            true
region LIKE 'eu%'            region=eu-west      false
price > 1 + 8                price=7            true
price > 5 AND                price=7            MQFilterException
EXPECTED

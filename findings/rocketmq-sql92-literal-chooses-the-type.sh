#!/usr/bin/env bash
# The SQL92 filter of Apache RocketMQ 5.5.0, which its broker evaluates a consumer's MessageSelector.bySql with,
# compares properties (which are always text) with numbers.
#
# Expected: 7.5 and 3000000000 are greater than 5, and zero may be written 0.0.
# Seen: the literal chooses the type that the property is read as. Beside 5 it is read as a Java Integer, which
#   7.5 and 3000000000 are not: the evaluation ends with an exception, after which a broker leaves
#   the message out, also when the other side of an OR would have been true. Beside 5.0 both match. The literal 0.0
#   is refused as too small, as is any number that is zero with a point.
# Why it matters: "price > 5" selects prices until one has a fraction or grows large; those messages are never
#   delivered, and only the log of the broker tells.
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
  ask 'price > 5' price 7
  ask 'price > 5' price 7.5
  ask 'price > 5' price 3000000000
  ask 'price > 5.0' price 7.5
  ask 'price > 5.0' price 3000000000
  ask 'price > 5 OR price > 5.0' price 7.5
  ask 'price > 0.0' price 7.5
} | tee seen

as_described <<'EXPECTED'
price > 5                    price=7            true
price > 5                    price=7.5          RuntimeException
price > 5                    price=3000000000   RuntimeException
price > 5.0                  price=7.5          true
price > 5.0                  price=3000000000   true
price > 5 OR price > 5.0     price=7.5          RuntimeException
price > 0.0                  price=7.5          MQFilterException
EXPECTED

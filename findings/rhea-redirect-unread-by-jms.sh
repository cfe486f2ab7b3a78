#!/usr/bin/env bash
# A rhea (Node) server redirects a qpid-jms (Java) failover client to a second server, with the error
# condition amqp:connection:redirect and its info map (AMQP 1.0, part 2, 2.8.16).
#
# Expected: rhea writes the keys of the info map as symbols, because the field's type is `fields`, a map
#   with symbols as keys, and because rhea does write symbols in the `properties` of open, begin and attach;
#   the client then reads the address and follows it.
# Seen: rhea writes the keys of an error's info as strings, whatever map it is given. qpid-jms looks its keys
#   up as symbols, finds none, and says "Redirection information not set, missing network host" about a frame
#   that holds the host. With nothing changed but the type of the keys, the same client follows the redirect.
# Why it matters: redirects move clients off a node before it is stopped. Between two rhea programs, and
#   wherever the peer decodes symbols and strings alike, such a redirect works, so the fault shows only when
#   the first Java client is moved; and the client's message blames the content instead of the type.
#   The same holds for all that is told in an error's info.
#
# Needs node and npm, and a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

npm install --silent --no-audit --no-fund --prefix "$temp" rhea@3.0.5 >npm.log
cat >pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.qpid</groupId>
      <artifactId>qpid-jms-client</artifactId>
      <version>1.12.0</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-nop</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
XML
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory=lib >mvn.log 2>&1 || { cat mvn.log; exit 1; }

# Prints the port of a server that redirects and the port of the server that it redirects to. With the
# argument "symbols" each map that this process writes goes through rhea's own wrapper for symbols as keys.
cat >servers.cjs <<'JS'
const rhea = require('rhea')
const { types } = rhea

if (process.argv[2] === 'symbols') {
  const wrapMap = types.wrap_map
  types.wrap_map = (map) => wrapMap(map, types.wrap_symbol)
}

function listen(onOpen) {
  const container = rhea.create_container()
  container.on('connection_open', onOpen)
  container.on('disconnected', () => {})
  const listener = container.listen({ host: '127.0.0.1', port: 0 })
  return new Promise((done) => listener.on('listening', () => done(listener.address().port)))
}

async function main() {
  const port = await listen(() => {})
  const info = { hostname: '127.0.0.1', 'network-host': '127.0.0.1', port }
  const error = { condition: 'amqp:connection:redirect', description: 'go there', info }
  console.log(await listen(({ connection }) => connection.close(error)), port)
}
main()
JS
cat >Follow.java <<'JAVA'
import org.apache.qpid.jms.*;

public class Follow {
  public static void main(String[] args) throws Exception {
    String url = "failover:(amqp://127.0.0.1:" + args[0] + ")"
        + "?failover.maxReconnectAttempts=3&failover.startupMaxReconnectAttempts=3";
    JmsConnection connection = (JmsConnection) new JmsConnectionFactory(url).createConnection();
    try {
      connection.start();
      boolean isThere = connection.getConnectedURI().getPort() == Integer.parseInt(args[1]);
      System.out.println(isThere ? "followed" : "stayed");
    } catch (javax.jms.JMSException failure) {
      System.out.println(failure.getMessage());
    } finally {
      connection.close();
    }
  }
}
JAVA

node servers.cjs >ports.strings 2>strings.log &
node servers.cjs symbols >ports.symbols 2>symbols.log &
for _ in $(seq 100); do [ -s ports.strings ] && [ -s ports.symbols ] && break; sleep 0.1; done

{
  node -p "'rhea ' + require('rhea/package.json').version"
  basename lib/qpid-jms-client-*.jar .jar
  for keys in strings symbols; do
    read -r from to <"ports.$keys"
    echo "keys of info are $keys: $(timeout 60 java -cp 'lib/*' Follow.java "$from" "$to")"
  done
} | tee seen

as_described <<'TEXT'
rhea 3.0.5
qpid-jms-client-1.12.0
keys of info are strings: go there [condition = amqp:connection:redirect] : Redirection information not set, missing network host.
keys of info are symbols: followed
TEXT

# Sourced by the findings: each runs in a folder that goes with it, for five minutes at most.
if [ -z "${FINDING_BOUNDED-}" ]; then FINDING_BOUNDED=1 exec timeout 300 bash "$0"; fi
temp=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$temp"' EXIT
cd "$temp"

# What was seen is in the file seen, one line each; the lines of standard input are expected.
as_described() {
  diff -u - seen || { echo 'the behaviour has changed'; exit 1; }
  echo 'seen as described'
}

# The named parts of Apache RocketMQ 5.5.0 in lib/; without names its client, broker and name server.
rocketmq_jars() {
  local name
  if [ $# = 0 ]; then set -- client broker namesrv; fi
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><dependencies>'
    for name; do
      echo "<dependency><groupId>org.apache.rocketmq</groupId><artifactId>rocketmq-$name</artifactId>"
      echo '<version>5.5.0</version></dependency>'
    done
    echo '</dependencies></project>'
  } >pom.xml
  mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory=lib >mvn.log 2>&1 || { cat mvn.log; exit 1; }
}

# Runs the Java file with a home folder. Its class RocketMq, which is added here, starts a name server and a
# broker there. Prints the versions, and what the program prints behind "> ".
rocketmq_run() {
  local name
  mkdir home
  rocketmq_servers >>"$1"
  for name in client broker namesrv; do basename lib/rocketmq-$name-5*.jar .jar; done
  if [ -n "${2-}" ]; then "$2"; fi
  HOME="$temp/home" timeout 200 java -Xmx512m -XX:MaxDirectMemorySize=512m -Duser.home="$temp/home" -cp 'lib/*' \
    "$1" "$temp/home" >java.log 2>&1 || { grep -v '|-' java.log >&2; exit 1; }
  sed -n 's/^> //p' java.log
}

rocketmq_servers() {
  cat <<'JAVA'

class RocketMq {
  /** @return the address of the name server */
  static String start(String home) throws Exception {
    String names = startNameServer(home);
    startBroker(home, names);
    return names;
  }

  static String startNameServer(String home) throws Exception {
    var config = new org.apache.rocketmq.common.namesrv.NamesrvConfig();
    config.setRocketmqHome(home);
    config.setKvConfigPath(home + "/kv.json");
    var server = new org.apache.rocketmq.remoting.netty.NettyServerConfig();
    server.setBindAddress("127.0.0.1");
    server.setListenPort(freePort());
    var client = new org.apache.rocketmq.remoting.netty.NettyClientConfig();
    var controller = new org.apache.rocketmq.namesrv.NamesrvController(config, server, client);
    if (!controller.initialize()) throw new IllegalStateException("the name server does not start");
    controller.start();
    return "127.0.0.1:" + server.getListenPort();
  }

  /** Only places, addresses and file sizes are set: no setting of how messages are treated. */
  static void startBroker(String home, String names) throws Exception {
    var config = new org.apache.rocketmq.common.BrokerConfig();
    config.setRocketmqHome(home);
    config.setNamesrvAddr(names);
    config.setBrokerIP1("127.0.0.1");
    config.setBrokerIP2("127.0.0.1");
    var server = new org.apache.rocketmq.remoting.netty.NettyServerConfig();
    server.setBindAddress("127.0.0.1");
    // The broker listens on the port two below this one too.
    server.setListenPort(freePort());
    config.setListenPort(server.getListenPort());
    var store = new org.apache.rocketmq.store.config.MessageStoreConfig();
    store.setStorePathRootDir(home + "/store");
    store.setStorePathCommitLog(home + "/store/commitlog");
    store.setMappedFileSizeCommitLog(16 << 20);
    store.setHaListenPort(freePort());
    var client = new org.apache.rocketmq.remoting.netty.NettyClientConfig();
    var broker = new org.apache.rocketmq.broker.BrokerController(config, server, client, store);
    if (!broker.initialize()) throw new IllegalStateException("the broker does not start");
    broker.start();
  }

  static int freePort() throws Exception {
    try (var socket = new java.net.ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }
}
JAVA
}

# The filter that its broker compiles a consumer's MessageSelector.bySql with, for sql92_ask.
sql92_filter() {
  rocketmq_jars filter
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
}

# An expression, a property's name and its value: what the filter makes of them.
sql92_ask() { java -cp 'lib/*:.' Select "$1" "$2" "$3" 2>/dev/null; }

free_port() {
  node -e "const s = net.createServer().listen(0, '127.0.0.1', () => { console.log(s.address().port); s.close() })"
}

# A port, and how many tenths of a second it may take.
listening() {
  for _ in $(seq "${2:-100}"); do
    (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.1
  done
  return 1
}

# Debian 12's RabbitMQ in root/. Unpacked and not installed: a package that is there already stays as it is.
rabbitmq_unpack() {
  apt-get -qq -o APT::Sandbox::User=root download rabbitmq-server=3.10.8-1.1+deb12u1
  dpkg -x rabbitmq-server_*.deb root
}

# A port for AMQP 0-9-1 and the plugins. Reads advanced.config; its log is the file rabbitmq.log.
rabbitmq_start() {
  local port=$1 name
  shift
  echo "[$(IFS=,; echo "$*")]." >plugins
  printf '%s\n' "listeners.tcp.1 = 127.0.0.1:$port" 'log.console = true' 'log.file = false' >rabbitmq.conf
  export HOME=$temp ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT
  ERL_EPMD_PORT=$(free_port)
  # A name service for Erlang of its own, which the shared one would outlive.
  epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" 2>epmd.log &
  listening "$ERL_EPMD_PORT"
  for name in CONFIG_FILE=rabbitmq.conf ADVANCED_CONFIG_FILE=advanced.config ENABLED_PLUGINS_FILE=plugins \
    CONF_ENV_FILE=none MNESIA_BASE=mnesia LOG_BASE=log; do
    export "RABBITMQ_${name%%=*}=$temp/${name#*=}"
  done
  RABBITMQ_NODENAME=finding@localhost RABBITMQ_DIST_PORT=$(free_port) \
    root/usr/lib/rabbitmq/bin/rabbitmq-server >rabbitmq.log 2>&1 &
  listening "$port" 900 || { cat rabbitmq.log; exit 1; }
}

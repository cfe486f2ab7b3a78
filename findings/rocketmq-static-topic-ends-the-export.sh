#!/usr/bin/env bash
# At an Apache RocketMQ 5.5.0 broker with its default settings, the admin client of the same version reads the
# configuration of all topics; mqadmin then makes a static topic, and the configuration is read again.
#
# Expected: the configuration of all topics, the new one among them.
# Seen: the second reading fails in the client: "not support unquoted name". The broker writes the queues of a
#   static topic as a map whose keys are bare numbers, and the reader takes none.
# Why it matters: `mqadmin exportMetadata`, `exportMetrics` and consoles that list topics in this way
#   (GET_ALL_TOPIC_CONFIG) work until a static topic is made once, and fail from then on for all topics of that
#   broker.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

rocketmq_jars client broker namesrv tools

cat >Export.java <<'JAVA'
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

public class Export {
  public static void main(String[] args) {
    int status = 1;
    try {
      run(RocketMq.start(args[0]));
      status = 0;
    } catch (Throwable failure) {
      failure.printStackTrace();
    }
    // The servers hold threads that do not end by themselves.
    Runtime.getRuntime().halt(status);
  }

  static void run(String names) throws Exception {
    DefaultMQAdminExt admin = new DefaultMQAdminExt();
    admin.setNamesrvAddr(names);
    admin.start();
    String broker = null;
    long end = System.currentTimeMillis() + 60_000;
    while (broker == null && System.currentTimeMillis() < end) {
      broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().values().stream()
          .map(data -> data.getBrokerAddrs().get(MixAll.MASTER_ID)).findFirst().orElse(null);
      if (broker == null) Thread.sleep(100);
    }
    System.out.println("> topics before: " + read(admin, broker));
    MQAdminStartup.main0(new String[] {"updateStaticTopic", "-n", names, "-c", "DefaultCluster",
        "-t", "pinned", "-qn", "4"}, null);
    System.out.println("> topics after: " + read(admin, broker));
  }

  static String read(DefaultMQAdminExt admin, String broker) {
    try {
      return admin.getAllTopicConfig(broker, 10_000).getTopicConfigTable().size() > 0 ? "read" : "none";
    } catch (Exception failure) {
      return failure.getClass().getSimpleName() + ", " + failure.getMessage().split(",")[0];
    }
  }
}
JAVA

rocketmq_run Export.java | tee out
grep '^topics' out >seen
as_described <<'END'
topics before: read
topics after: JSONException, not support unquoted name
END

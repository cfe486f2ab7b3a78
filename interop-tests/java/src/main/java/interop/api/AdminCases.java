package interop.api;

import java.util.HashSet;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.admin.ConsumeStats;
import org.apache.rocketmq.remoting.protocol.body.ConsumeMessageDirectlyResult;
import org.apache.rocketmq.remoting.protocol.body.ConsumerConnection;
import org.apache.rocketmq.remoting.protocol.body.ConsumerRunningInfo;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;

/** DefaultMQAdminExt, as far as applications and consoles use it. */
final class AdminCases {
    static void addTo(Map<String, Case> cases) {
        cases.put("admin: a topic's settings", cluster -> {
            TopicConfig made = new TopicConfig(cluster.name("T"), 3, 2, 6);
            made.setAttributes(Map.of("+message.type", "FIFO"));
            String topic = cluster.topic(made);
            TopicConfig told = cluster.admin.examineTopicConfig(cluster.brokerAddress(), topic);
            return told.getReadQueueNums() + " " + told.getWriteQueueNums() + " " + told.getPerm() + " "
                + told.getAttributes();
        });
        cases.put("admin: a topic's statistics", cluster -> {
            String topic = PushCases.filled(cluster, 1, 5);
            return cluster.admin.examineTopicStats(topic).getOffsetTable().values().stream()
                .map(range -> range.getMinOffset() + "-" + range.getMaxOffset()).toList();
        });
        cases.put("admin: the route of a topic that is not there", cluster ->
            cluster.admin.examineTopicRouteInfo(cluster.name("Missing")));
        cases.put("admin: the list of topics", cluster -> {
            String topic = cluster.topic(1);
            return cluster.admin.fetchAllTopicList().getTopicList().contains(topic);
        });
        cases.put("admin: clusters of a topic", cluster ->
            cluster.admin.getTopicClusterList(cluster.topic(1)));
        cases.put("admin: a deleted topic", cluster -> {
            String topic = PushCases.filled(cluster, 1, 1);
            cluster.admin.deleteTopicInBroker(new HashSet<>(java.util.List.of(cluster.brokerAddress())), topic);
            cluster.admin.deleteTopicInNameServer(
                new HashSet<>(java.util.List.of(cluster.nameServer)), "DefaultCluster", topic);
            return cluster.admin.examineTopicRouteInfo(topic);
        });
        cases.put("admin: a group's settings", cluster -> {
            SubscriptionGroupConfig made = new SubscriptionGroupConfig();
            made.setGroupName(cluster.name("G"));
            made.setRetryMaxTimes(5);
            made.setRetryQueueNums(2);
            made.setConsumeBroadcastEnable(false);
            create(cluster, made);
            SubscriptionGroupConfig told =
                cluster.admin.examineSubscriptionGroupConfig(cluster.brokerAddress(), made.getGroupName());
            return told.getRetryMaxTimes() + " " + told.getRetryQueueNums() + " "
                + told.isConsumeBroadcastEnable() + " " + told.isConsumeEnable();
        });
        cases.put("admin: a deleted group", cluster -> {
            SubscriptionGroupConfig made = new SubscriptionGroupConfig();
            made.setGroupName(cluster.name("G"));
            create(cluster, made);
            cluster.admin.deleteSubscriptionGroup(cluster.brokerAddress(), made.getGroupName(), true);
            return cluster.admin.getAllSubscriptionGroup(cluster.brokerAddress(), 5000)
                .getSubscriptionGroupTable().containsKey(made.getGroupName());
        });
        cases.put("admin: a group's progress", cluster -> live(cluster, (consumer, topic) -> {
            ConsumeStats stats = cluster.admin.examineConsumeStats(consumer.getConsumerGroup(), topic);
            Cluster.until(15_000, () -> lag(cluster, consumer.getConsumerGroup(), topic) == 0);
            return stats.getOffsetTable().size() + " " + lag(cluster, consumer.getConsumerGroup(), topic);
        }));
        cases.put("admin: a group's connections", cluster -> live(cluster, (consumer, topic) -> {
            ConsumerConnection told = cluster.admin.examineConsumerConnectionInfo(consumer.getConsumerGroup());
            return told.getConnectionSet().size() + " " + told.getMessageModel() + " " + told.getConsumeType()
                + " " + told.getConsumeFromWhere() + " " + told.getSubscriptionTable().containsKey(topic);
        }));
        cases.put("admin: connections of a group without members", cluster ->
            cluster.admin.examineConsumerConnectionInfo(cluster.name("G")));
        cases.put("admin: a producer's connections", cluster -> {
            String topic = PushCases.filled(cluster, 1, 1);
            String group = cluster.producer.getProducerGroup();
            Cluster.until(40_000, () -> producers(cluster, group, topic) == 1);
            return producers(cluster, group, topic);
        });
        cases.put("admin: running info of a consumer", cluster -> live(cluster, (consumer, topic) -> {
            String group = consumer.getConsumerGroup();
            String id = cluster.admin.examineConsumerConnectionInfo(group).getConnectionSet().iterator().next()
                .getClientId();
            ConsumerRunningInfo info = cluster.admin.getConsumerRunningInfo(group, id, true);
            return info.getProperties().getProperty(ConsumerRunningInfo.PROP_CONSUME_TYPE) + " "
                + info.getMqTable().keySet().stream()
                    .filter(queue -> queue.getTopic().equals(topic)).count() + " " + (info.getJstack() != null) + " "
                + info.getStatusTable().containsKey(topic);
        }));
        cases.put("admin: running info of a consumer that is not there", cluster ->
            live(cluster, (consumer, topic) ->
                cluster.admin.getConsumerRunningInfo(consumer.getConsumerGroup(), "nobody", false)));
        cases.put("admin: consume once more", cluster -> {
            String topic = cluster.topic(1);
            SendResult sent = cluster.producer.send(Cluster.message(topic, 0));
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(topic, "*");
            Got got = new Got();
            consumer.registerMessageListener(got.listener());
            consumer.start();
            got.waits(1);
            String group = consumer.getConsumerGroup();
            String id = cluster.admin.examineConsumerConnectionInfo(group).getConnectionSet().iterator().next()
                .getClientId();
            ConsumeMessageDirectlyResult result =
                cluster.admin.consumeMessageDirectly(group, id, topic, sent.getOffsetMsgId());
            consumer.shutdown();
            return result.getConsumeResult() + " " + result.isOrder() + " " + got.count();
        });
        cases.put("admin: a live push group is moved", cluster -> {
            String topic = PushCases.filled(cluster, 1, 5);
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(topic, "*");
            Got got = new Got();
            consumer.registerMessageListener(got.listener());
            consumer.start();
            got.waits(5);
            Thread.sleep(6000);
            Map<MessageQueue, Long> told =
                cluster.admin.resetOffsetByTimestamp(topic, consumer.getConsumerGroup(), 0, true);
            got.waits(10);
            consumer.shutdown();
            return told.values() + " " + got.count();
        });
        cases.put("admin: where a group's members are", cluster -> live(cluster, (consumer, topic) -> {
            Map<String, Map<MessageQueue, Long>> told =
                cluster.admin.getConsumeStatus(topic, consumer.getConsumerGroup(), "");
            return told.size() + " " + told.values().iterator().next().size();
        }));
        cases.put("admin: groups of a topic", cluster -> live(cluster, (consumer, topic) ->
            cluster.admin.queryTopicConsumeByWho(topic).getGroupList().contains(consumer.getConsumerGroup())));
        cases.put("admin: topics of a group", cluster -> live(cluster, (consumer, topic) ->
            cluster.admin.queryTopicsByConsumer(consumer.getConsumerGroup()).getTopicList().contains(topic)));
        cases.put("admin: a group's subscription", cluster -> live(cluster, (consumer, topic) ->
            cluster.admin.querySubscription(consumer.getConsumerGroup(), topic).getSubString()));
        cases.put("admin: the times that a group is behind", cluster -> live(cluster, (consumer, topic) ->
            cluster.admin.queryConsumeTimeSpan(topic, consumer.getConsumerGroup()).size()));
        cases.put("admin: what became of a message", cluster -> {
            String topic = cluster.topic(1);
            SendResult sent = cluster.producer.send(Cluster.message(topic, 0));
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(topic, "*");
            Got got = new Got();
            consumer.registerMessageListener(got.listener());
            consumer.start();
            got.waits(1);
            MessageExt message = cluster.admin.viewMessage(topic, sent.getOffsetMsgId());
            Cluster.until(15_000, () -> lag(cluster, consumer.getConsumerGroup(), topic) == 0);
            TreeSet<String> told = new TreeSet<>();
            cluster.admin.messageTrackDetail(message).forEach(track -> told.add(
                track.getConsumerGroup().equals(consumer.getConsumerGroup()) + " " + track.getTrackType()));
            consumer.shutdown();
            return told;
        });
        cases.put("admin: offsets are cloned", cluster -> {
            String topic = PushCases.filled(cluster, 1, 3);
            DefaultMQPushConsumer consumer = cluster.push();
            consumer.subscribe(topic, "*");
            PushCases.run(consumer, new Got(), 3);
            String other = cluster.name("G");
            cluster.admin.cloneGroupOffset(consumer.getConsumerGroup(), other, topic, false);
            return "cloned";
        });
        cases.put("admin: settings and numbers of a broker", cluster -> {
            Properties settings = cluster.admin.getBrokerConfig(cluster.brokerAddress());
            return settings.getProperty("brokerName") + " " + settings.getProperty("brokerClusterName") + " "
                + cluster.admin.fetchBrokerRuntimeStats(cluster.brokerAddress()).getTable().containsKey("putTps");
        });
        cases.put("admin: values at the name server", cluster -> {
            String key = cluster.name("k");
            cluster.admin.createAndUpdateKvConfig("NS", key, "v");
            String told = cluster.admin.getKVConfig("NS", key);
            cluster.admin.deleteKvConfig("NS", key);
            return told;
        });
        cases.put("admin: brokers of the cluster", cluster ->
            cluster.admin.examineBrokerClusterInfo().getClusterAddrTable());
        cases.put("admin: messages by key", cluster -> {
            String topic = PushCases.filled(cluster, 1, 2);
            Thread.sleep(2000);
            return cluster.admin.queryMessage(topic, "key-1", 8, 0, Long.MAX_VALUE).getMessageList().size();
        });
    }

    interface Live {
        Object of(DefaultMQPushConsumer consumer, String topic) throws Exception;
    }

    /** A push consumer that has consumed three messages. */
    private static Object live(Cluster cluster, Live asking) throws Exception {
        String topic = PushCases.filled(cluster, 1, 3);
        DefaultMQPushConsumer consumer = cluster.push();
        consumer.subscribe(topic, "*");
        Got got = new Got();
        consumer.registerMessageListener(got.listener());
        consumer.start();
        try {
            got.waits(3);
            Cluster.until(20_000, () -> cluster.isRouted("%RETRY%" + consumer.getConsumerGroup())
                && lag(cluster, consumer.getConsumerGroup(), topic) == 0);
            return asking.of(consumer, topic);
        } finally {
            consumer.shutdown();
        }
    }

    /** Apache's broker fails at times while other groups are made. */
    private static void create(Cluster cluster, SubscriptionGroupConfig group) throws Exception {
        for (int triesLeft = 10; ; triesLeft--) {
            try {
                cluster.admin.createAndUpdateSubscriptionGroupConfig(cluster.brokerAddress(), group);
                return;
            } catch (MQBrokerException failed) {
                if (triesLeft == 0 || failed.getResponseCode() != 1) {
                    throw failed;
                }
                Thread.sleep(100);
            }
        }
    }

    private static long lag(Cluster cluster, String group, String topic) {
        try {
            return cluster.admin.examineConsumeStats(group, topic).computeTotalDiff();
        } catch (Exception failed) {
            return -1;
        }
    }

    private static int producers(Cluster cluster, String group, String topic) {
        try {
            return cluster.admin.examineProducerConnectionInfo(group, topic).getConnectionSet().size();
        } catch (Exception failed) {
            return 0;
        }
    }

    private AdminCases() {
    }
}

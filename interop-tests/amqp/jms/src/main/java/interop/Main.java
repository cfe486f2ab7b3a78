package interop;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import javax.jms.BytesMessage;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.InvalidClientIDException;
import javax.jms.InvalidDestinationException;
import javax.jms.InvalidSelectorException;
import javax.jms.JMSException;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.ObjectMessage;
import javax.jms.Queue;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.StreamMessage;
import javax.jms.TextMessage;
import javax.jms.Topic;
import org.apache.qpid.jms.JmsConnectionFactory;

/**
 * Checks of one broker with an unmodified JMS client: {@code Main URL [CHECK...]}. Prints a line of JSON for each check:
 * its name, and what went wrong if anything did.
 */
public final class Main {
    private static final long WAIT_MS = 60_000;

    private final String url;
    private final String run = Long.toString(System.nanoTime(), 36);

    private Main(String url) {
        this.url = url;
    }

    private interface Check {
        void run() throws Exception;
    }

    public static void main(String[] args) {
        Main main = new Main(args[0]);
        List<String> wanted = Arrays.asList(args).subList(1, args.length);
        main.checks().forEach((name, check) -> {
            if (!wanted.isEmpty() && !wanted.contains(name)) return;
            String problem = "";
            try {
                check.run();
            } catch (Throwable thrown) {
                problem = thrown.toString();
            }
            String quoted = problem.replace("\\", "\\\\").replace("\"", "'").replace("\n", " ");
            System.out.println("{\"event\":\"check\",\"name\":\"" + name + "\",\"problem\":\"" + quoted + "\"}");
        });
        System.out.println("{\"event\":\"done\"}");
        System.exit(0);
    }

    private Map<String, Check> checks() {
        Map<String, Check> checks = new TreeMap<>();
        checks.put("every kind of message with its properties", this::kinds);
        checks.put("headers", this::headers);
        checks.put("a queue is shared by its consumers", this::queueIsShared);
        checks.put("an unacknowledged message comes again", this::recover);
        checks.put("a queue keeps the order of its sender", this::order);
        checks.put("consumers that close count nothing of what they did not look at", this::closing);
        checks.put("a message that keeps failing waits for another consumer", this::redeliveryPolicy);
        checks.put("a message that keeps failing and is rejected is dead", this::rejectingPolicy);
        checks.put("a browser sees what is there and takes nothing", this::browse);
        checks.put("a browser sees what was handed back", this::browseBack);
        checks.put("a topic's subscribers all get everything from then on", this::topic);
        checks.put("a durable subscription survives its connection", this::durable);
        checks.put("a shared durable subscription", this::shared);
        checks.put("unsubscribing ends a durable subscription", this::unsubscribe);
        checks.put("a client id is connected once", this::clientId);
        checks.put("a subscription to another topic is another one", this::moved);
        checks.put("a shared subscription that is not durable ends with its consumers", this::sharedVolatile);
        checks.put("messages that are not persistent come as such", this::nonPersistent);
        checks.put("a delayed message", this::delayed);
        checks.put("an anonymous producer", this::anonymousProducer);
        checks.put("asynchronous sends and a listener", this::asynchronous);
        checks.put("an address in words of RocketMQ", this::addresses);
        checks.put("receiveNoWait with nothing there", this::receiveNoWait);
        checks.put("messages of a transacted session are there once it is committed", this::transactedSends);
        checks.put("messages that a transacted session received come again after a rollback", this::transactedReceives);
        checks.put("a transacted session receives and sends", this::transactedBoth);
        checks.put("a transacted session that is closed rolls back", this::transactedClose);
        checks.put("temporary queues are refused in words", this::temporary);
        checks.put("a selector chooses from a queue, and the rest stays", this::selectors);
        checks.put("consumers of one queue with selectors of their own", this::selectorsCompete);
        checks.put("the selectors of subscriptions", this::selectorOfSubscription);
        checks.put("half a selector, and no local messages, are refused in words", this::selectorsRefused);
        checks.put("a large message", this::large);
        checks.put("a message too large fails once, with failover too", this::tooLarge);
        return checks;
    }

    private Connection connect(String clientId) throws JMSException {
        JmsConnectionFactory factory = new JmsConnectionFactory(url);
        if (clientId != null) factory.setClientID(clientId);
        Connection connection = factory.createConnection();
        connection.start();
        return connection;
    }

    private interface Work {
        void with(Session session) throws Exception;
    }

    private void inSession(int mode, Work work) throws Exception {
        Connection connection = connect(null);
        try {
            work.with(connection.createSession(false, mode));
        } finally {
            connection.close();
        }
    }

    private static void same(Object expected, Object actual) {
        if (!String.valueOf(expected).equals(String.valueOf(actual))) {
            throw new AssertionError("expected " + expected + " but got " + actual);
        }
    }

    private static Message got(MessageConsumer consumer) throws JMSException {
        Message message = consumer.receive(WAIT_MS);
        if (message == null) throw new AssertionError("no message came");
        return message;
    }

    private String name(String kind) {
        return "jms." + kind + "." + run;
    }

    private void kinds() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("kinds"));
            MessageProducer producer = session.createProducer(queue);
            MessageConsumer consumer = session.createConsumer(queue);

            TextMessage text = session.createTextMessage("grüße 中文");
            text.setIntProperty("int", 7);
            text.setLongProperty("long", Long.MIN_VALUE);
            text.setDoubleProperty("double", 0.1);
            text.setBooleanProperty("yes", true);
            text.setStringProperty("text", "ü");
            text.setByteProperty("byte", (byte) -1);
            producer.send(text);
            Message back = got(consumer);
            same("grüße 中文", ((TextMessage) back).getText());
            same(7, back.getIntProperty("int"));
            same(Long.MIN_VALUE, back.getLongProperty("long"));
            same(0.1, back.getDoubleProperty("double"));
            same(true, back.getBooleanProperty("yes"));
            same("ü", back.getStringProperty("text"));
            same((byte) -1, back.getByteProperty("byte"));

            BytesMessage bytes = session.createBytesMessage();
            bytes.writeBytes(new byte[] {0, 1, (byte) 255});
            producer.send(bytes);
            same(3, ((BytesMessage) got(consumer)).getBodyLength());

            MapMessage map = session.createMapMessage();
            map.setInt("a", 1);
            map.setChar("c", 'x');
            producer.send(map);
            MapMessage mapBack = (MapMessage) got(consumer);
            same(1, mapBack.getInt("a"));
            same('x', mapBack.getChar("c"));

            StreamMessage stream = session.createStreamMessage();
            stream.writeFloat(1.5f);
            stream.writeString("end");
            producer.send(stream);
            StreamMessage streamBack = (StreamMessage) got(consumer);
            same(1.5f, streamBack.readFloat());
            same("end", streamBack.readString());

            ObjectMessage object = session.createObjectMessage(new ArrayList<>(List.of("one", 2)));
            producer.send(object);
            same("[one, 2]", ((ObjectMessage) got(consumer)).getObject());

            producer.send(session.createMessage());
            got(consumer);
        });
    }

    private void headers() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("headers"));
            MessageProducer producer = session.createProducer(queue);
            producer.setPriority(7);
            producer.setTimeToLive(60_000);
            producer.setDeliveryMode(DeliveryMode.PERSISTENT);
            MessageConsumer consumer = session.createConsumer(queue);
            TextMessage message = session.createTextMessage("x");
            message.setJMSType("TagA");
            message.setJMSCorrelationID("c-1");
            message.setJMSReplyTo(session.createQueue("answers"));
            message.setStringProperty("JMSXGroupID", "order-17");
            producer.send(message);
            Message back = got(consumer);
            same(message.getJMSMessageID(), back.getJMSMessageID());
            same(message.getJMSTimestamp(), back.getJMSTimestamp());
            same("TagA", back.getJMSType());
            same("c-1", back.getJMSCorrelationID());
            same("answers", ((Queue) back.getJMSReplyTo()).getQueueName());
            same("order-17", back.getStringProperty("JMSXGroupID"));
            same(7, back.getJMSPriority());
            same(DeliveryMode.PERSISTENT, back.getJMSDeliveryMode());
            same(1, back.getIntProperty("JMSXDeliveryCount"));
            same(queue.getQueueName(), ((Queue) back.getJMSDestination()).getQueueName());
            same(false, back.getJMSRedelivered());
        });
    }

    private void queueIsShared() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("shared"));
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < 100; i++) producer.send(session.createTextMessage("m" + i));
            List<String> texts = Collections.synchronizedList(new ArrayList<>());
            Connection other = connect(null);
            try {
                Session second = other.createSession(false, Session.AUTO_ACKNOWLEDGE);
                second.createConsumer(queue).setMessageListener(message -> texts.add(textOf(message)));
                MessageConsumer consumer = session.createConsumer(queue);
                long end = System.currentTimeMillis() + WAIT_MS;
                while (texts.size() < 100 && System.currentTimeMillis() < end) {
                    Message message = consumer.receive(50);
                    if (message != null) texts.add(textOf(message));
                }
            } finally {
                other.close();
            }
            same(100, texts.size());
            same(100, texts.stream().distinct().count());
        });
    }

    private static String textOf(Message message) {
        try {
            return ((TextMessage) message).getText();
        } catch (JMSException error) {
            throw new IllegalStateException(error);
        }
    }

    private void recover() throws Exception {
        String name = name("recover");
        inSession(Session.CLIENT_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name);
            session.createProducer(queue).send(session.createTextMessage("x"));
            MessageConsumer consumer = session.createConsumer(queue);
            same(false, got(consumer).getJMSRedelivered());
            session.recover();
            Message again = got(consumer);
            same(true, again.getJMSRedelivered());
            same(2, again.getIntProperty("JMSXDeliveryCount"));
        });
        // The connection was closed without an acknowledgement.
        inSession(Session.CLIENT_ACKNOWLEDGE, session -> {
            Message third = got(session.createConsumer(session.createQueue(name)));
            same("x", textOf(third));
            same(true, third.getJMSRedelivered());
            third.acknowledge();
        });
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            same(null, session.createConsumer(session.createQueue(name)).receive(500));
        });
    }

    private void order() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("order"));
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < 200; i++) producer.send(session.createTextMessage("m" + i));
            MessageConsumer consumer = session.createConsumer(queue);
            for (int i = 0; i < 200; i++) same("m" + i, textOf(got(consumer)));
        });
    }

    /** The client detaches first, with its whole prefetch unsettled. */
    private void closing() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("closing"));
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < 60; i++) producer.send(session.createTextMessage("m" + i));
            for (int i = 0; i < 20; i++) {
                MessageConsumer consumer = session.createConsumer(queue);
                same("m" + i, textOf(got(consumer)));
                consumer.close();
            }
            MessageConsumer last = session.createConsumer(queue);
            for (int i = 20; i < 60; i++) {
                Message message = got(last);
                same("m" + i, textOf(message));
                same(1, message.getIntProperty("JMSXDeliveryCount"));
            }
        });
    }

    private void redeliveryPolicy() throws Exception {
        String name = name("poison");
        failing("", name);
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            same("poison", textOf(got(session.createConsumer(session.createQueue(name)))));
        });
    }

    private void rejectingPolicy() throws Exception {
        String name = name("rejected");
        failing("&jms.redeliveryPolicy.outcome=REJECTED", name);
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue dead = session.createQueue("/groups/q-" + name + "/dlq");
            same("poison", textOf(got(session.createConsumer(dead))));
        });
    }

    /** Sends a message that a consumer with one redelivery fails at until it has had enough of it. */
    private void failing(String options, String name) throws Exception {
        String limited = url + "?jms.redeliveryPolicy.maxRedeliveries=1" + options;
        Connection connection = new JmsConnectionFactory(limited).createConnection();
        connection.start();
        try {
            Session session = connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
            Queue queue = session.createQueue(name);
            session.createProducer(queue).send(session.createTextMessage("poison"));
            MessageConsumer consumer = session.createConsumer(queue);
            got(consumer);
            session.recover();
            got(consumer);
            session.recover();
            same(null, consumer.receive(500));
        } finally {
            connection.close();
        }
    }

    private void browse() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("browse"));
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < 20; i++) producer.send(session.createTextMessage("m" + i));
            QueueBrowser browser = session.createBrowser(queue);
            int seen = 0;
            for (Enumeration<?> all = browser.getEnumeration(); all.hasMoreElements(); all.nextElement()) seen++;
            browser.close();
            same(20, seen);
            MessageConsumer consumer = session.createConsumer(queue);
            for (int i = 0; i < 20; i++) got(consumer);
        });
    }

    private void browseBack() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("browse.back"));
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < 20; i++) producer.send(session.createTextMessage("m" + i));
            MessageConsumer consumer = session.createConsumer(queue);
            for (int i = 0; i < 18; i++) got(consumer);
            consumer.close();
            QueueBrowser later = session.createBrowser(queue);
            Enumeration<?> left = later.getEnumeration();
            same("m18", textOf((Message) left.nextElement()));
            same("m19", textOf((Message) left.nextElement()));
            same(false, left.hasMoreElements());
            later.close();
            MessageConsumer rest = session.createConsumer(queue);
            for (int i = 0; i < 2; i++) got(rest);
        });
    }

    private void topic() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Topic topic = session.createTopic(name("topic"));
            MessageProducer producer = session.createProducer(topic);
            producer.send(session.createTextMessage("before"));
            MessageConsumer one = session.createConsumer(topic);
            MessageConsumer two = session.createConsumer(topic);
            for (int i = 0; i < 10; i++) producer.send(session.createTextMessage("m" + i));
            for (MessageConsumer consumer : List.of(one, two)) {
                for (int i = 0; i < 10; i++) same(true, textOf(got(consumer)).startsWith("m"));
                same(null, consumer.receive(100));
            }
        });
    }

    private void durable() throws Exception {
        String clientId = "client-" + run;
        String name = name("durable");
        for (int round = 0; round < 3; round++) {
            Connection connection = connect(clientId);
            try {
                Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
                Topic topic = session.createTopic(name);
                MessageConsumer consumer = session.createDurableSubscriber(topic, "sub");
                if (round > 0) same("round " + (round - 1), textOf(got(consumer)));
                same(null, consumer.receive(100));
                consumer.close();
                session.createProducer(topic).send(session.createTextMessage("round " + round));
            } finally {
                connection.close();
            }
        }
    }

    private void shared() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Topic topic = session.createTopic(name("sharedsub"));
            MessageConsumer one = session.createSharedDurableConsumer(topic, "sub-" + run);
            MessageConsumer two = session.createSharedDurableConsumer(topic, "sub-" + run);
            MessageProducer producer = session.createProducer(topic);
            for (int i = 0; i < 20; i++) producer.send(session.createTextMessage("m" + i));
            List<String> texts = new ArrayList<>();
            long end = System.currentTimeMillis() + WAIT_MS;
            while (texts.size() < 20 && System.currentTimeMillis() < end) {
                for (MessageConsumer consumer : List.of(one, two)) {
                    Message message = consumer.receive(50);
                    if (message != null) texts.add(textOf(message));
                }
            }
            same(20, texts.stream().distinct().count());
            same(20, texts.size());
        });
    }

    private void unsubscribe() throws Exception {
        Connection connection = connect("unsubscriber-" + run);
        try {
            Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            Topic topic = session.createTopic(name("unsubscribe"));
            MessageProducer producer = session.createProducer(topic);
            session.createDurableSubscriber(topic, "sub").close();
            producer.send(session.createTextMessage("old"));
            session.unsubscribe("sub");
            MessageConsumer again = session.createDurableSubscriber(topic, "sub");
            same(null, again.receive(300));
            producer.send(session.createTextMessage("new"));
            same("new", textOf(got(again)));
            again.close();
            session.createSharedDurableConsumer(topic, "shared").close();
            session.unsubscribe("shared");
            try {
                session.unsubscribe("shared");
                throw new AssertionError("a subscription ended twice");
            } catch (InvalidDestinationException expected) {
                // It is not there any more.
            }
        } finally {
            connection.close();
        }
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            session.createSharedDurableConsumer(session.createTopic(name("global")), "global-" + run).close();
            session.unsubscribe("global-" + run);
        });
    }

    private void clientId() throws Exception {
        Connection first = connect("client-id-" + run);
        try {
            connect("client-id-" + run).close();
            throw new AssertionError("a client id was connected twice");
        } catch (InvalidClientIDException expected) {
            first.createSession(false, Session.AUTO_ACKNOWLEDGE).createProducer(null);
        } finally {
            first.close();
        }
        connect("client-id-" + run).close();
    }

    private void moved() throws Exception {
        Connection connection = connect("mover-" + run);
        try {
            Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            Topic here = session.createTopic(name("here"));
            Topic there = session.createTopic(name("there"));
            session.createDurableSubscriber(here, "sub").close();
            session.createProducer(here).send(session.createTextMessage("before"));
            session.createDurableSubscriber(there, "sub").close();
            MessageConsumer back = session.createDurableSubscriber(here, "sub");
            session.createProducer(here).send(session.createTextMessage("after"));
            same("after", textOf(got(back)));
        } finally {
            connection.close();
        }
    }

    private void sharedVolatile() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Topic topic = session.createTopic(name("volatile"));
            MessageProducer producer = session.createProducer(topic);
            MessageConsumer one = session.createSharedConsumer(topic, "volatile-" + run);
            MessageConsumer two = session.createSharedConsumer(topic, "volatile-" + run);
            producer.send(session.createTextMessage("x"));
            Message message = null;
            long end = System.currentTimeMillis() + WAIT_MS;
            while (message == null && System.currentTimeMillis() < end) {
                message = one.receive(50);
                if (message == null) message = two.receive(50);
            }
            same("x", textOf(message));
            one.close();
            two.close();
            producer.send(session.createTextMessage("missed"));
            MessageConsumer three = session.createSharedConsumer(topic, "volatile-" + run);
            producer.send(session.createTextMessage("y"));
            same("y", textOf(got(three)));
        });
    }

    private void nonPersistent() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("nonpersistent"));
            MessageProducer producer = session.createProducer(queue);
            producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
            producer.send(session.createTextMessage("x"));
            Message message = got(session.createConsumer(queue));
            same(DeliveryMode.NON_PERSISTENT, message.getJMSDeliveryMode());
            same(Message.DEFAULT_PRIORITY, message.getJMSPriority());
            same(1, message.getIntProperty("JMSXDeliveryCount"));
        });
    }

    private void delayed() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("delayed"));
            MessageProducer producer = session.createProducer(queue);
            producer.setDeliveryDelay(1500);
            MessageConsumer consumer = session.createConsumer(queue);
            long before = System.currentTimeMillis();
            producer.send(session.createTextMessage("later"));
            same("later", textOf(got(consumer)));
            long took = System.currentTimeMillis() - before;
            if (took < 1400) throw new AssertionError("came after " + took + " ms");
        });
    }

    private void anonymousProducer() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            MessageProducer producer = session.createProducer(null);
            for (String name : List.of(name("relay1"), name("relay2"))) {
                Queue queue = session.createQueue(name);
                producer.send(queue, session.createTextMessage(name));
                same(name, textOf(got(session.createConsumer(queue))));
            }
        });
    }

    private void asynchronous() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("async"));
            List<String> texts = Collections.synchronizedList(new ArrayList<>());
            Connection other = connect(null);
            try {
                other.createSession(false, Session.AUTO_ACKNOWLEDGE).createConsumer(queue)
                    .setMessageListener(message -> texts.add(textOf(message)));
                MessageProducer producer = session.createProducer(queue);
                producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
                for (int i = 0; i < 1000; i++) producer.send(session.createTextMessage("m" + i));
                long end = System.currentTimeMillis() + WAIT_MS;
                while (texts.size() < 1000 && System.currentTimeMillis() < end) Thread.sleep(10);
            } finally {
                other.close();
            }
            same(1000, texts.stream().distinct().count());
        });
    }

    private void addresses() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            String topic = "jms-addresses-" + run;
            MessageProducer producer = session.createProducer(session.createQueue("/topics/" + topic + "/tags/TagA"));
            producer.send(session.createTextMessage("x"));
            Destination group = session.createQueue(topic + "::billing?tag=TagA");
            same("x", textOf(got(session.createConsumer(group))));
        });
    }

    private void receiveNoWait() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("nowait"));
            MessageConsumer consumer = session.createConsumer(queue);
            same(null, consumer.receiveNoWait());
            session.createProducer(queue).send(session.createTextMessage("x"));
            long end = System.currentTimeMillis() + WAIT_MS;
            Message message = null;
            while (message == null && System.currentTimeMillis() < end) message = consumer.receiveNoWait();
            same("x", textOf(message));
        });
    }

    private interface Transacted {
        void with(Session session, MessageProducer producer, MessageConsumer consumer) throws Exception;
    }

    private void inTransaction(String name, Transacted work) throws Exception {
        Connection connection = connect(null);
        try {
            Session session = connection.createSession(true, Session.SESSION_TRANSACTED);
            Queue queue = session.createQueue(name);
            work.with(session, session.createProducer(queue), session.createConsumer(queue));
        } finally {
            connection.close();
        }
    }

    private void transactedSends() throws Exception {
        inTransaction(name("txsend"), (session, producer, consumer) -> {
            Connection other = connect(null);
            try {
                Session reading = other.createSession(false, Session.AUTO_ACKNOWLEDGE);
                MessageConsumer reader = reading.createConsumer(reading.createQueue(name("txout")));
                MessageProducer out = session.createProducer(session.createQueue(name("txout")));
                for (int i = 0; i < 5; i++) out.send(session.createTextMessage("lost" + i));
                same(null, reader.receive(300));
                session.rollback();
                for (int i = 0; i < 5; i++) out.send(session.createTextMessage("m" + i));
                same(null, reader.receive(300));
                session.commit();
                for (int i = 0; i < 5; i++) same("m" + i, textOf(got(reader)));
                same(null, reader.receive(200));
            } finally {
                other.close();
            }
        });
    }

    private void transactedReceives() throws Exception {
        String name = name("txreceive");
        inTransaction(name, (session, producer, consumer) -> {
            for (int i = 0; i < 5; i++) producer.send(session.createTextMessage("m" + i));
            session.commit();
            for (int i = 0; i < 5; i++) {
                Message message = got(consumer);
                same("m" + i, textOf(message));
                same(false, message.getJMSRedelivered());
            }
            session.rollback();
            for (int i = 0; i < 3; i++) {
                Message message = got(consumer);
                same("m" + i, textOf(message));
                same(true, message.getJMSRedelivered());
                same(2, message.getIntProperty("JMSXDeliveryCount"));
            }
            session.commit();
        });
        // What was not received in the committed transaction comes to the next consumer.
        inTransaction(name, (session, producer, consumer) -> {
            for (int i = 3; i < 5; i++) same("m" + i, textOf(got(consumer)));
            session.commit();
            same(null, consumer.receive(200));
        });
    }

    private void transactedBoth() throws Exception {
        String name = name("txboth");
        inTransaction(name, (session, producer, consumer) -> {
            for (int i = 0; i < 20; i++) producer.send(session.createTextMessage("m" + i));
            session.commit();
            MessageProducer out = session.createProducer(session.createQueue(name + ".out"));
            MessageConsumer back = session.createConsumer(session.createQueue(name + ".out"));
            for (int i = 0; i < 20; i++) {
                Message message = got(consumer);
                TextMessage answer = session.createTextMessage("answer to " + textOf(message));
                out.send(answer);
                // Every fourth is thought over once.
                if (i % 4 == 3 && !message.getJMSRedelivered()) {
                    session.rollback();
                    i--;
                } else session.commit();
            }
            for (int i = 0; i < 20; i++) same("answer to m" + i, textOf(got(back)));
            session.commit();
            same(null, back.receive(200));
            same(null, consumer.receive(200));
        });
    }

    private void transactedClose() throws Exception {
        String name = name("txclose");
        inTransaction(name, (session, producer, consumer) -> {
            producer.send(session.createTextMessage("x"));
            session.commit();
            got(consumer);
            producer.send(session.createTextMessage("never"));
        });
        inTransaction(name, (session, producer, consumer) -> {
            Message message = got(consumer);
            same("x", textOf(message));
            same(true, message.getJMSRedelivered());
            session.commit();
            same(null, consumer.receive(300));
        });
    }

    private void selectors() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("selectors"));
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < 12; i++) {
                TextMessage message = session.createTextMessage("m" + i);
                message.setIntProperty("n", i);
                message.setStringProperty("colour", i % 3 == 0 ? "red" : i % 3 == 1 ? "blue" : "light green");
                message.setBooleanProperty("odd", i % 2 == 1);
                message.setJMSType(i < 6 ? "low" : "high");
                producer.send(message, i == 4 ? DeliveryMode.NON_PERSISTENT : DeliveryMode.PERSISTENT, i == 5 ? 9 : 4, 0);
            }
            expect(session, queue, "n BETWEEN 2 AND 3 OR n * 2 = 8", 2, 3, 4);
            expect(session, queue, "JMSPriority > 4 AND JMSType = 'low'", 5);
            expect(session, queue, "colour LIKE '%green' AND NOT (n < 10)", 11);
            expect(session, queue, "odd AND colour IN ('red', 'blue')", 1, 7, 9);
            expect(session, queue, "missing IS NULL AND JMSType = 'high'", 6, 8, 10);
            expect(session, queue, null, 0);
        });
    }

    /** The messages of these numbers come to a consumer with this selector, first to a browser, and no others. */
    private void expect(Session session, Queue queue, String selector, int... numbers) throws Exception {
        QueueBrowser browser = session.createBrowser(queue, selector);
        List<String> browsed = new ArrayList<>();
        for (Enumeration<?> all = browser.getEnumeration(); all.hasMoreElements(); ) {
            browsed.add(textOf((Message) all.nextElement()));
        }
        browser.close();
        MessageConsumer consumer = session.createConsumer(queue, selector);
        List<String> wanted = new ArrayList<>();
        List<String> got = new ArrayList<>();
        for (int number : numbers) {
            wanted.add("m" + number);
            got.add(textOf(got(consumer)));
        }
        same(wanted, got);
        same(wanted, browsed);
        same(null, consumer.receive(100));
        consumer.close();
    }

    private void selectorsCompete() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("compete"));
            MessageConsumer red = session.createConsumer(queue, "colour = 'red'");
            MessageConsumer blue = session.createConsumer(queue, "colour = 'blue'");
            MessageProducer producer = session.createProducer(queue);
            for (int i = 0; i < 30; i++) {
                TextMessage message = session.createTextMessage("m" + i);
                message.setStringProperty("colour", List.of("red", "blue", "green").get(i % 3));
                producer.send(message);
            }
            for (int i = 0; i < 30; i += 3) same("m" + i, textOf(got(red)));
            for (int i = 1; i < 30; i += 3) same("m" + i, textOf(got(blue)));
            same(null, red.receive(100));
            same(null, blue.receive(100));
            MessageConsumer any = session.createConsumer(queue);
            for (int i = 2; i < 30; i += 3) same("m" + i, textOf(got(any)));
            same(null, any.receive(100));
        });
    }

    private void selectorOfSubscription() throws Exception {
        Connection connection = connect("selecting-" + run);
        try {
            Session session = connection.createSession(true, Session.SESSION_TRANSACTED);
            Topic topic = session.createTopic(name("selected"));
            MessageConsumer durable = session.createDurableSubscriber(topic, "sub", "n > 1", false);
            MessageConsumer plain = session.createConsumer(topic, "n < 1");
            MessageProducer producer = session.createProducer(topic);
            for (int i = 0; i < 4; i++) {
                TextMessage message = session.createTextMessage("m" + i);
                message.setIntProperty("n", i);
                producer.send(message);
            }
            session.commit();
            for (int i = 2; i < 4; i++) same("m" + i, textOf(got(durable)));
            same("m0", textOf(got(plain)));
            session.commit();
        } finally {
            connection.close();
        }
    }

    private void selectorsRefused() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            try {
                session.createConsumer(session.createQueue(name("selectors")), "n >");
                throw new AssertionError("half a selector was taken");
            } catch (InvalidSelectorException expected) {
                // The client reads selectors too, and wants brackets behind NOT: NOT (n < 1).
            }
            try {
                session.createConsumer(session.createTopic(name("local")), null, true);
                throw new AssertionError("a consumer of no local messages was made");
            } catch (JMSException expected) {
                same(true, expected.getMessage().contains("same connection"));
            }
        });
    }

    private void temporary() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            try {
                session.createTemporaryQueue();
                throw new AssertionError("a temporary queue was made");
            } catch (InvalidDestinationException unexpected) {
                throw unexpected;
            } catch (JMSException expected) {
                same(true, expected.getMessage().contains("dynamic"));
            }
        });
    }

    private void large() throws Exception {
        inSession(Session.AUTO_ACKNOWLEDGE, session -> {
            Queue queue = session.createQueue(name("large"));
            String text = "0123456789".repeat(300_000);
            session.createProducer(queue).send(session.createTextMessage(text));
            same(text.length(), textOf(got(session.createConsumer(queue))).length());
        });
    }

    private void tooLarge() throws Exception {
        JmsConnectionFactory factory = new JmsConnectionFactory("failover:(" + url + ")");
        Connection connection = factory.createConnection();
        connection.start();
        try {
            Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            Queue queue = session.createQueue(name("toolarge"));
            try {
                session.createProducer(queue).send(session.createTextMessage("0123456789".repeat(700_000)));
                throw new AssertionError("a message beyond the limit went through");
            } catch (JMSException expected) {
                // The producer is gone, and nothing else.
            }
            session.createProducer(queue).send(session.createTextMessage("x"));
            same("x", textOf(got(session.createConsumer(queue))));
        } finally {
            connection.close();
        }
    }
}

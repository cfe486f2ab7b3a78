// Checks of one broker with the unmodified RocketMQ client for Go: `interop NAMESERVER`. Prints a line of JSON for
// each check: its name, and what went wrong if anything did. No topic is made by hand.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// A consumer rebalances every twenty seconds, and a failed message comes again after ten.
const wait = 120 * time.Second

var nameServers = []string{os.Args[1]}

var checks = []struct {
	name string
	run  func(name string)
}{
	{"every way of sending arrives whole", everyWay},
	{"a consumer that starts first gets the first message", first},
	{"a tag expression selects", tags},
	{"a failed message comes again with a count", again},
	{"a delayed message comes not before its time", delayed},
	{"an orderly consumer sees one key in order, a failed message again before the next", orderly},
	{"every broadcasting consumer gets every message", broadcast},
	{"two consumers share a group, and one takes over from the other", sharing},
	{"a pull consumer with its defaults gets every message", pulling},
	{"transactions are committed, rolled back and asked about", transaction},
	{"a request gets its reply", request},
}

func main() {
	rlog.SetLogLevel("fatal")
	if len(os.Args) > 4 && os.Args[3] == "steady" {
		steady(os.Args[2], must(strconv.Atoi(os.Args[4])))
		return
	}
	if len(os.Args) > 4 {
		produce(os.Args[2], must(strconv.Atoi(os.Args[4])))
		return
	}
	if len(os.Args) > 2 {
		member(os.Args[2], os.Args[3])
		return
	}
	for i, check := range checks {
		say(check.name, try(func() { check.run(fmt.Sprintf("Go%d", i)) }))
	}
	fmt.Println(`{"event":"done"}`)
}

func say(name, problem string) {
	line, _ := json.Marshal(map[string]string{"event": "check", "name": name, "problem": problem})
	fmt.Println(string(line))
}

func try(run func()) (problem string) {
	defer func() {
		if thrown := recover(); thrown != nil {
			problem = fmt.Sprint(thrown)
		}
	}()
	run()
	return ""
}

func done(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	done(err)
	return value
}

func expect(is bool, what string, values ...any) {
	if !is {
		panic(fmt.Sprintf(what, values...))
	}
}

// Clients of one process share a connection under one instance name; these are as many processes.
func newProducer(name string, options ...producer.Option) rocketmq.Producer {
	p := must(rocketmq.NewProducer(append([]producer.Option{
		producer.WithNameServer(nameServers),
		producer.WithGroupName(name + "-producer"),
		producer.WithInstanceName(name + "-producer"),
	}, options...)...))
	done(p.Start())
	return p
}

func message(topic, tag, body string) *primitive.Message {
	return primitive.NewMessage(topic, []byte(body)).WithTag(tag)
}

func send(p rocketmq.Producer, messages ...*primitive.Message) *primitive.SendResult {
	result := must(p.SendSync(context.Background(), messages...))
	expect(result.Status == primitive.SendOK, "status %v", result.Status)
	return result
}

type received struct {
	sync.Mutex
	messages []*primitive.MessageExt
}

func (r *received) add(messages []*primitive.MessageExt) {
	r.Lock()
	defer r.Unlock()
	r.messages = append(r.messages, messages...)
}

func (r *received) bodies() []string {
	r.Lock()
	defer r.Unlock()
	bodies := []string{}
	for _, message := range r.messages {
		bodies = append(bodies, string(message.Body))
	}
	return bodies
}

func until(what string, isTrue func() bool) {
	for deadline := time.Now().Add(wait); !isTrue(); time.Sleep(20 * time.Millisecond) {
		expect(time.Now().Before(deadline), "%s did not come about", what)
	}
}

type handler func(*primitive.MessageExt) consumer.ConsumeResult

func consume(instance, group, topic, tags string, handle handler, options ...consumer.Option) (rocketmq.PushConsumer, *received) {
	got := &received{}
	c := must(rocketmq.NewPushConsumer(append([]consumer.Option{
		consumer.WithNameServer(nameServers),
		consumer.WithGroupName(group),
		consumer.WithInstance(instance),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)...))
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	done(c.Subscribe(topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		got.add(messages)
		for _, message := range messages {
			if result := handle(message); result != consumer.ConsumeSuccess {
				return result, nil
			}
		}
		return consumer.ConsumeSuccess, nil
	}))
	done(c.Start())
	return c, got
}

func success(*primitive.MessageExt) consumer.ConsumeResult { return consumer.ConsumeSuccess }

func everyWay(name string) {
	p := newProducer(name)
	defer p.Shutdown()
	one := message(name, "TagA", "sync").WithKeys([]string{"k1", "k2"})
	one.WithProperty("who", "grüße 中文 \"quoted\"")
	result := send(p, one)
	answered := make(chan error, 1)
	done(p.SendAsync(context.Background(), func(_ context.Context, _ *primitive.SendResult, err error) {
		answered <- err
	}, message(name, "TagA", "async")))
	done(<-answered)
	done(p.SendOneWay(context.Background(), message(name, "TagA", "oneway")))
	send(p, message(name, "TagA", "batch1"), message(name, "TagA", "batch2"))
	// Beyond 4 KiB the client compresses.
	large := strings.Repeat("large ", 20_000)
	send(p, message(name, "TagA", large))
	c, got := consume(name, name+"-group", name, "*", success)
	defer c.Shutdown()
	until("every message", func() bool { return len(got.bodies()) >= 6 })
	bodies := got.bodies()
	sort.Strings(bodies)
	want := []string{"async", "batch1", "batch2", large, "oneway", "sync"}
	expect(strings.Join(bodies, "|") == strings.Join(want, "|"), "got %.200v", bodies)
	for _, message := range got.messages {
		if string(message.Body) != "sync" {
			continue
		}
		expect(message.MsgId == result.MsgID, "id %s is not %s", message.MsgId, result.MsgID)
		expect(message.GetKeys() == "k1 k2", "keys %s", message.GetKeys())
		expect(message.GetTags() == "TagA", "tag %s", message.GetTags())
		who := message.GetProperty("who")
		expect(who == one.GetProperty("who"), "property %s", who)
	}
}

func first(name string) {
	c, got := consume(name, name+"-group", name, "*", success)
	defer c.Shutdown()
	p := newProducer(name)
	defer p.Shutdown()
	send(p, message(name, "TagA", "first"))
	until("the message", func() bool { return len(got.bodies()) == 1 })
}

func tags(name string) {
	p := newProducer(name)
	defer p.Shutdown()
	for _, tag := range []string{"A", "B", "C"} {
		send(p, message(name, tag, tag))
	}
	c, got := consume(name, name+"-group", name, "A || C", success)
	defer c.Shutdown()
	until("both tags", func() bool { return len(got.bodies()) >= 2 })
	bodies := got.bodies()
	sort.Strings(bodies)
	expect(strings.Join(bodies, "") == "AC", "got %v", bodies)
}

func again(name string) {
	p := newProducer(name)
	defer p.Shutdown()
	sent := send(p, message(name, "TagA", "fails"))
	c, got := consume(name, name+"-group", name, "*", func(m *primitive.MessageExt) consumer.ConsumeResult {
		if m.ReconsumeTimes == 0 {
			return consumer.ConsumeRetryLater
		}
		return consumer.ConsumeSuccess
	})
	defer c.Shutdown()
	until("the second time", func() bool { return len(got.bodies()) >= 2 })
	second := got.messages[1]
	expect(second.ReconsumeTimes == 1, "count %d", second.ReconsumeTimes)
	expect(second.Topic == name, "topic %s", second.Topic)
	expect(second.MsgId == sent.MsgID, "id %s", second.MsgId)
}

func delayed(name string) {
	p := newProducer(name)
	defer p.Shutdown()
	began := time.Now()
	send(p, message(name, "TagA", "late").WithDelayTimeLevel(2))
	c, got := consume(name, name+"-group", name, "*", success)
	defer c.Shutdown()
	until("the message", func() bool { return len(got.bodies()) == 1 })
	expect(time.Since(began) >= 5*time.Second, "it came after %v", time.Since(began))
}

func orderly(name string) {
	p := newProducer(name, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	defer p.Shutdown()
	want := []string{}
	for i := 0; i < 20; i++ {
		send(p, message(name, "TagA", fmt.Sprint(i)).WithShardingKey("one"))
		want = append(want, fmt.Sprint(i))
	}
	failed := false
	done := []string{}
	c, _ := consume(name, name+"-group", name, "*", func(m *primitive.MessageExt) consumer.ConsumeResult {
		if string(m.Body) == "3" && !failed {
			failed = true
			return consumer.SuspendCurrentQueueAMoment
		}
		done = append(done, string(m.Body))
		return consumer.ConsumeSuccess
	}, consumer.WithConsumerOrder(true), consumer.WithSuspendCurrentQueueTimeMillis(200*time.Millisecond))
	until("every message", func() bool { return len(done) >= 20 })
	c.Shutdown()
	expect(strings.Join(done, " ") == strings.Join(want, " "), "got %v", done)
}

func broadcast(name string) {
	p := newProducer(name)
	defer p.Shutdown()
	send(p, message(name, "TagA", "before"))
	everyone := consumer.WithConsumerModel(consumer.BroadCasting)
	// The client keeps the places of a broadcasting group in the home directory, over all runs.
	group := fmt.Sprintf("%s-group-%d", name, time.Now().UnixNano())
	one, gotOne := consume(name+"-one", group, name, "*", success, everyone)
	defer one.Shutdown()
	two, gotTwo := consume(name+"-two", group, name, "*", success, everyone)
	defer two.Shutdown()
	for i := 0; i < 10; i++ {
		send(p, message(name, "TagA", fmt.Sprint("message", i)))
	}
	for _, got := range []*received{gotOne, gotTwo} {
		until("every message", func() bool { return distinct("message", got) == 10 })
	}
}

func sharing(name string) {
	p := newProducer(name)
	defer p.Shutdown()
	one, gotOne := consume(name+"-one", name+"-group", name, "*", success)
	two, gotTwo := consume(name+"-two", name+"-group", name, "*", success)
	defer two.Shutdown()
	// Until both have queues; what comes before may go to one alone.
	for round := 0; len(gotOne.bodies()) == 0 || len(gotTwo.bodies()) == 0; round++ {
		expect(round < 20, "the two never shared the queues")
		prefix := fmt.Sprintf("round%d-", round)
		for i := 0; i < 8; i++ {
			send(p, message(name, "TagA", fmt.Sprint(prefix, i)))
		}
		until("a round", func() bool { return distinct(prefix, gotOne, gotTwo) == 8 })
	}
	done(one.Shutdown())
	for i := 0; i < 8; i++ {
		send(p, message(name, "TagA", fmt.Sprint("alone", i)))
	}
	until("the rest", func() bool { return distinct("alone", gotTwo) == 8 })
}

func distinct(prefix string, all ...*received) int {
	bodies := map[string]bool{}
	for _, got := range all {
		for _, body := range got.bodies() {
			if strings.HasPrefix(body, prefix) {
				bodies[body] = true
			}
		}
	}
	return len(bodies)
}

// Its batch size is 0 unless the application sets one.
func pulling(name string) {
	p := newProducer(name)
	defer p.Shutdown()
	for i := 0; i < 10; i++ {
		send(p, message(name, "TagA", fmt.Sprint(i)))
	}
	c := must(rocketmq.NewPullConsumer(
		consumer.WithNameServer(nameServers),
		consumer.WithGroupName(name+"-group"),
		consumer.WithInstance(name),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	))
	done(c.Subscribe(name, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}))
	done(c.Start())
	defer c.Shutdown()
	got := &received{}
	until("every message", func() bool {
		request, err := c.Poll(context.Background(), time.Second)
		if err == nil {
			got.add(request.GetMsgList())
			c.ACK(context.Background(), request, consumer.ConsumeSuccess)
		}
		return distinct("", got) == 10
	})
}

// Commits, rolls back, or does not know: as the body says. What is asked about is committed.
type byBody struct{}

func (byBody) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	switch string(m.Body) {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (byBody) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	if string(m.Body) == "asked" && m.Topic != "" {
		return primitive.CommitMessageState
	}
	return primitive.UnknowState
}

func transaction(name string) {
	p := must(rocketmq.NewTransactionProducer(byBody{},
		producer.WithNameServer(nameServers),
		producer.WithGroupName(name+"-producer"),
		producer.WithInstanceName(name+"-producer"),
		producer.WithRetry(0),
	))
	done(p.Start())
	defer p.Shutdown()
	for _, body := range []string{"commit", "rollback", "asked"} {
		must(p.SendMessageInTransaction(context.Background(), message(name, "TagA", body)))
	}
	got := &received{}
	c := must(rocketmq.NewPushConsumer(
		consumer.WithNameServer(nameServers),
		consumer.WithGroupName(name),
		consumer.WithInstance(name),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	))
	done(c.Subscribe(name, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"},
		func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			got.add(messages)
			return consumer.ConsumeSuccess, nil
		}))
	done(c.Start())
	defer c.Shutdown()
	until("what was committed, and what was asked about", func() bool {
		return distinct("", got) == 2
	})
}

// The client leaves the body of a reply to its caller, and tells brokers of a producer only with its next heartbeat:
// until then no reply reaches it.
func request(name string) {
	replier := newProducer(name + "-replier")
	defer replier.Shutdown()
	c, _ := consume(name, name, name, "*", func(asked *primitive.MessageExt) consumer.ConsumeResult {
		reply := must(consumer.CreateReplyMessage(asked, nil))
		reply.Body = []byte("to " + string(asked.Body))
		until("the reply", func() bool {
			_, err := replier.SendSync(context.Background(), reply)
			return err == nil
		})
		return consumer.ConsumeSuccess
	})
	defer c.Shutdown()
	p := newProducer(name)
	defer p.Shutdown()
	reply := must(p.Request(context.Background(), wait, message(name, "TagA", "a request")))
	expect(string(reply.Body) == "to a request", "the reply was %q", reply.Body)
}

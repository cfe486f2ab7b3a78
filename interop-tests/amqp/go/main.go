// Checks of one broker with an unmodified go-amqp client: `interop URL`. Prints a line of JSON for each check: its
// name, and what went wrong if anything did.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/Azure/go-amqp"
)

const wait = 60 * time.Second

type check struct {
	name string
	run  func(ctx context.Context, session *amqp.Session, name string)
}

var checks = []check{
	{"every section comes back", sections},
	{"outcomes", outcomes},
	{"a receiver that settles second", second},
	{"credit by hand and drain", drain},
	{"a message larger than the receiver takes", tooLarge},
	{"a receiver for no node", noNode},
}

func main() {
	for _, one := range checks {
		for _, frameBytes := range []uint32{512, 65536} {
			say(fmt.Sprintf("%s, frames of %d", one.name, frameBytes), try(one, os.Args[1], frameBytes))
		}
	}
	fmt.Println(`{"event":"done"}`)
}

func say(name, problem string) {
	line, _ := json.Marshal(map[string]string{"event": "check", "name": name, "problem": problem})
	fmt.Println(string(line))
}

func try(one check, url string, frameBytes uint32) (problem string) {
	defer func() {
		if thrown := recover(); thrown != nil {
			problem = fmt.Sprint(thrown)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	client := must(amqp.Dial(ctx, url, &amqp.ConnOptions{MaxFrameSize: frameBytes}))
	session := must(client.NewSession(ctx, nil))
	one.run(ctx, session, fmt.Sprintf("go.%d", time.Now().UnixNano()))
	done(client.Close())
	return ""
}

func must[T any](value T, err error) T {
	done(err)
	return value
}

func done(err error) {
	if err != nil {
		panic(err)
	}
}

func same(expected, actual any) {
	if fmt.Sprint(expected) != fmt.Sprint(actual) {
		panic(fmt.Sprintf("expected %v but got %v", expected, actual))
	}
}

func failsWith(condition amqp.ErrCond, err error) {
	var ended *amqp.LinkError
	if !errors.As(err, &ended) || ended.RemoteErr == nil {
		panic(fmt.Sprintf("expected %s but got %v", condition, err))
	}
	same(condition, ended.RemoteErr.Condition)
}

func large() []byte {
	body := make([]byte, 4*1024*1024-1024)
	for i := range body {
		body[i] = byte(i * 7)
	}
	return body
}

func sections(ctx context.Context, session *amqp.Session, name string) {
	sender := must(session.NewSender(ctx, name, nil))
	sent := &amqp.Message{
		Header:                &amqp.MessageHeader{Durable: true, Priority: 3, TTL: time.Minute},
		DeliveryAnnotations:   amqp.Annotations{"hop": "by hop"},
		Annotations:           amqp.Annotations{"x-opt-mine": int64(1)},
		Properties:            &amqp.MessageProperties{MessageID: amqp.UUID{1, 2, 3}, CorrelationID: uint64(1 << 60)},
		ApplicationProperties: map[string]any{"ubyte": uint8(3), "text": "grüße"},
		Data:                  [][]byte{large()[:2<<20], large()[2<<20:]},
		Footer:                amqp.Annotations{"check": "sum"},
	}
	done(sender.Send(ctx, sent, nil))
	receiver := must(session.NewReceiver(ctx, name, nil))
	got := must(receiver.Receive(ctx, nil))
	same(2, len(got.Data))
	same(true, bytes.Equal(large(), bytes.Join(got.Data, nil)))
	// A broker says how much of the time to live is left.
	same(true, got.Header.TTL > 0 && got.Header.TTL <= sent.Header.TTL)
	got.Header.TTL = sent.Header.TTL
	same(*sent.Header, *got.Header)
	same(sent.Properties.MessageID, got.Properties.MessageID)
	same(sent.Properties.CorrelationID, got.Properties.CorrelationID)
	same(sent.ApplicationProperties, got.ApplicationProperties)
	same(sent.Footer, got.Footer)
	same(int64(1), got.Annotations["x-opt-mine"])
	same(0, len(got.DeliveryAnnotations))
	done(receiver.AcceptMessage(ctx, got))
}

func outcomes(ctx context.Context, session *amqp.Session, name string) {
	sender := must(session.NewSender(ctx, name, nil))
	done(sender.Send(ctx, amqp.NewMessage([]byte("x")), nil))
	receiver := must(session.NewReceiver(ctx, name, nil))
	done(receiver.ReleaseMessage(ctx, must(receiver.Receive(ctx, nil))))
	again := must(receiver.Receive(ctx, nil))
	same(0, deliveryCount(again))
	done(receiver.ModifyMessage(ctx, again, &amqp.ModifyMessageOptions{}))
	done(receiver.RejectMessage(ctx, must(receiver.Receive(ctx, nil)), &amqp.Error{Condition: "go:bad", Description: "so"}))
	dead := must(session.NewReceiver(ctx, "/groups/q-"+name+"/dlq", nil))
	letter := must(dead.Receive(ctx, nil))
	same("go:bad: so", letter.Annotations["x-opt-rmq-dlq-reason"])
	done(dead.AcceptMessage(ctx, letter))
}

func second(ctx context.Context, session *amqp.Session, name string) {
	mode := &amqp.SenderOptions{RequestedReceiverSettleMode: amqp.ReceiverSettleModeSecond.Ptr()}
	sender := must(session.NewSender(ctx, name, mode))
	done(sender.Send(ctx, amqp.NewMessage([]byte("x")), nil))
	receiver := must(session.NewReceiver(ctx, name, &amqp.ReceiverOptions{SettlementMode: amqp.ReceiverSettleModeSecond.Ptr()}))
	// Returns when we have settled in our turn.
	done(receiver.AcceptMessage(ctx, must(receiver.Receive(ctx, nil))))
}

func drain(ctx context.Context, session *amqp.Session, name string) {
	receiver := must(session.NewReceiver(ctx, name, &amqp.ReceiverOptions{Credit: -1}))
	done(receiver.IssueCredit(100))
	sender := must(session.NewSender(ctx, name, nil))
	for i := 0; i < 10; i++ {
		done(sender.Send(ctx, amqp.NewMessage([]byte("x")), nil))
	}
	for i := 0; i < 10; i++ {
		done(receiver.AcceptMessage(ctx, must(receiver.Receive(ctx, nil))))
	}
	done(receiver.DrainCredit(ctx, nil))
	done(sender.Send(ctx, amqp.NewMessage([]byte("after")), nil))
	same(true, receiver.Prefetched() == nil)
	done(receiver.IssueCredit(1))
	same("after", string(must(receiver.Receive(ctx, nil)).GetData()))
}

func tooLarge(ctx context.Context, session *amqp.Session, name string) {
	sender := must(session.NewSender(ctx, name, nil))
	done(sender.Send(ctx, amqp.NewMessage(large()[:1000]), nil))
	receiver := must(session.NewReceiver(ctx, name, &amqp.ReceiverOptions{MaxMessageSize: 100}))
	_, err := receiver.Receive(ctx, nil)
	failsWith(amqp.ErrCondMessageSizeExceeded, err)
}

func noNode(ctx context.Context, session *amqp.Session, _ string) {
	_, err := session.NewReceiver(ctx, "/nodes/x", nil)
	var refused *amqp.Error
	if !errors.As(err, &refused) {
		panic(fmt.Sprintf("expected a refusal but got %v", err))
	}
	same(amqp.ErrCondNotFound, refused.Condition)
}

// A message that was sent without a header comes without one as long as no delivery failed.
func deliveryCount(message *amqp.Message) uint32 {
	if message.Header == nil {
		return 0
	}
	return message.Header.DeliveryCount
}

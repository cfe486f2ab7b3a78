package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// One member of a group, until standard input ends: `interop NAMESERVER TOPIC GROUP`.
func member(topic, group string) {
	c := must(rocketmq.NewPushConsumer(
		consumer.WithNameServer(nameServers),
		consumer.WithGroupName(group),
		consumer.WithInstance("go"),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	))
	done(c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"},
		func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			for _, m := range messages {
				fmt.Printf("{\"event\":\"got\",\"body\":\"%s\"}\n", base64.StdEncoding.EncodeToString(m.Body))
			}
			return consumer.ConsumeSuccess, nil
		}))
	done(c.Start())
	fmt.Println(`{"event":"ready"}`)
	io.Copy(io.Discard, os.Stdin)
	done(c.Shutdown())
	fmt.Println(`{"event":"done"}`)
}

// Sends so many messages, one after the other: `interop NAMESERVER TOPIC produce COUNT`.
func produce(topic string, count int) {
	p := newProducer(topic + "-made")
	for i := 0; i < count; i++ {
		send(p, message(topic, "made", fmt.Sprintf("go-%d", i)))
	}
	done(p.Shutdown())
	fmt.Println(`{"event":"done"}`)
}

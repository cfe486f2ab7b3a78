package main

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// Sends so many messages, one every fifty milliseconds, each until it is acknowledged: `interop NAMESERVER TOPIC steady COUNT`.
func steady(topic string, count int) {
	p := newProducer(topic + "-steady")
	for i := 0; i < count; {
		result, err := p.SendSync(context.Background(), message(topic, "steady", fmt.Sprintf("go-%d", i)))
		if err == nil && result.Status == primitive.SendOK {
			fmt.Printf("{\"event\":\"sent\",\"index\":%d}\n", i)
			i++
		}
		time.Sleep(50 * time.Millisecond)
	}
	done(p.Shutdown())
	fmt.Println(`{"event":"done"}`)
}

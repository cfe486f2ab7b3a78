#!/usr/bin/env bash
# A responder of RocketMQ's Go client makes the reply to a request with consumer.CreateReplyMessage(request, body),
# by its last release and by the newest commit.
#
# Expected: the reply has that body, as MessageUtil.createReplyMessage of the Java client has it.
# Seen: the reply has no body. The bytes are read as the properties of the reply instead: "a<0x01>b<0x02>" becomes a
#   property a with the value b, and any other text is dropped without an error.
# Why it matters: the request is answered, in time and with success on both sides, with nothing. A responder has to
#   set Body of what it gets.
#
# Needs Go 1.21 or later.
set -euo pipefail
. "$(dirname "$0")/support.sh"

cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

func main() {
	request := &primitive.MessageExt{}
	request.WithProperty("CLUSTER", "DefaultCluster")
	request.WithProperty("REPLY_TO_CLIENT", "client")
	request.WithProperty("CORRELATION_ID", "1")
	for _, body := range []string{"an answer", "a\x01b\x02"} {
		reply, err := consumer.CreateReplyMessage(request, []byte(body))
		fmt.Printf("> reply with %q: error %v, body %q, property a %q\n", body, err, reply.Body, reply.GetProperty("a"))
	}
}
GO
for version in v2.1.2 v2.1.3-0.20251226070945-2173d070fd1b; do
  mkdir "$version"
  cp main.go "$version"
  (
    cd "$version"
    export GOWORK=off GOFLAGS=-mod=mod
    go mod init finding
    go get "github.com/apache/rocketmq-client-go/v2@$version"
    go mod tidy
  ) >>go.log 2>&1 || { cat go.log; exit 1; }
  echo "rocketmq-client-go $version"
  (cd "$version" && GOWORK=off go run . 2>/dev/null | sed -n 's/^> //p')
done | tee seen

as_described <<'TEXT'
rocketmq-client-go v2.1.2
reply with "an answer": error <nil>, body "", property a ""
reply with "a\x01b\x02": error <nil>, body "", property a "b"
rocketmq-client-go v2.1.3-0.20251226070945-2173d070fd1b
reply with "an answer": error <nil>, body "", property a ""
reply with "a\x01b\x02": error <nil>, body "", property a "b"
TEXT

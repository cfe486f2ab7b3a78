// The unmodified RocketMQ client for Go against our server in a process of its own: sending, tags, retry, delay,
// order, broadcasting, sharing, and what it is refused.

import { spawnServer } from '../../test/support/server.ts'
import { allChecked, goClient, goMissing } from '../support/go-client.ts'
import { needing } from '../support/needing.ts'

const missing = await goMissing()
const testGo = needing("every test with RocketMQ's Go client", missing)

const CHECKS = 11

testGo('a Go application produces and consumes in every way', async (t) => {
  const server = await spawnServer(t)
  const client = await goClient(t, 'remoting/go', server.address('nameServer'))
  await allChecked(t, client, CHECKS)
})

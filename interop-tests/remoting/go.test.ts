// The unmodified RocketMQ client for Go against our server in a process of its own: sending, tags, retry, delay,
// order, broadcasting, sharing, and what it is refused.
import test from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import { allChecked, goClient, goMissing } from '../support/go-client.ts'

const missing = await goMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: every test with RocketMQ's Go client, because ${missing}\n`)
  test.skip(`RocketMQ's Go client: ${missing}`, (t) => t.pass())
}
const testGo = missing === undefined ? test.serial : test.skip

const CHECKS = 11

testGo('a Go application produces and consumes in every way', async (t) => {
  const server = await spawnServer(t)
  const client = await goClient(t, 'remoting/go', server.address('nameServer'))
  await allChecked(t, client, CHECKS)
})

// The unmodified go-amqp client against our server in a process of its own, with the smallest frames there can
// be and with ours: sections, outcomes, both settlement modes, drain, limits, refusals.
import test from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import { allChecked, goClient, goMissing } from '../support/go-client.ts'

const missing = await goMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: every test with go-amqp, because ${missing}\n`)
  test.skip(`go-amqp: ${missing}`, (t) => t.pass())
}
const testGo = missing === undefined ? test.serial : test.skip

const CHECKS = 12

testGo('a Go application sends, receives and is refused in words', async (t) => {
  const server = await spawnServer(t)
  const client = await goClient(t, 'amqp/go', `amqp://${server.address('amqp')}`)
  await allChecked(t, client, CHECKS)
})

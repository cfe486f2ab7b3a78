// The unmodified go-amqp client against our server in a process of its own, with the smallest frames there can
// be and with ours: sections, outcomes, both settlement modes, drain, limits, refusals.

import { spawnServer } from '../../test/support/server.ts'
import { allChecked, goClient, goMissing } from '../support/go-client.ts'
import { needing } from '../support/needing.ts'

const missing = await goMissing()
const testGo = needing('every test with go-amqp', missing)

const CHECKS = 12

testGo('a Go application sends, receives and is refused in words', async (t) => {
  const server = await spawnServer(t)
  const client = await goClient(t, 'amqp/go', `amqp://${server.address('amqp')}`)
  await allChecked(t, client, CHECKS)
})

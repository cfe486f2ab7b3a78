// Upstream's suite of persistences, over a broker in this process and over one that is reached as
// the SDK reaches it.
import abstractTest from 'aedes-persistence/abstract.js'
import test from 'ava'
import { createPersistence } from '../../src/aedes/index.ts'
import { type AedesBroker, openPort } from '../../src/aedes/options.ts'
import { type RunningServer, startTemporaryServer } from '../../src/in-process.ts'
import { silentLogger } from '../../src/log.ts'
import { upstreamTest } from './upstream.ts'

let server: RunningServer

test.before(async () => {
  server = await startTemporaryServer({ logger: silentLogger })
})
test.after.always(() => server?.close())

/** Upstream's cases begin with nothing. */
async function forget(options: AedesBroker): Promise<void> {
  const { broker, close } = await openPort(options)
  for await (const page of broker.states.list('aedes/')) {
    for (const { id } of page) await broker.states.delete(id)
  }
  await close()
}

const where: readonly [string, () => AedesBroker][] = [
  ['in this process', () => ({ server })],
  ['elsewhere', () => ({ nameServers: server.nameServers })],
]

for (const [what, options] of where) {
  abstractTest({
    test: upstreamTest(what),
    testAsync: true,
    persistence: async () => {
      await forget(options())
      return createPersistence(options())
    },
  })
}

// The SDK against our own broker in a child process, killed in the middle.
import test from 'ava'
import { type SpawnedServer, spawnServer } from '../support/server.ts'
import { sdkSuite } from './sdk.ts'

let server: SpawnedServer
const endings: (() => unknown)[] = []

test.before(async () => {
  // A hook has no teardown of its own.
  server = await spawnServer({ teardown: (end: () => unknown) => void endings.unshift(end) })
})
test.after.always(async () => {
  for (const end of endings) await end()
})

sdkSuite(() => ({
  nameServer: server.address('nameServer'),
  broker: server.address('remoting'),
  async restart() {
    await server.kill()
    await server.start()
  },
}))

// Upstream's suite of mqemitters, over a broker in this process and over one that is reached as the
// SDK reaches it.
import test from 'ava'
import abstractTest from 'mqemitter/abstractTest.js'
import { LogEmitter, type MatchingOptions } from '../../src/aedes/emitter.ts'
import { type RunningServer, startTemporaryServer } from '../../src/in-process.ts'
import { silentLogger } from '../../src/log.ts'
import { upstreamTest } from './upstream.ts'

let server: RunningServer

test.before(async () => {
  server = await startTemporaryServer({ logger: silentLogger })
})
test.after.always(() => server?.close())

abstractTest({
  test: upstreamTest('in this process'),
  builder: (options?: MatchingOptions) => new LogEmitter({ ...options, server }),
})

abstractTest({
  test: upstreamTest('elsewhere'),
  builder: (options?: MatchingOptions) =>
    new LogEmitter({ ...options, nameServers: server.nameServers }),
})

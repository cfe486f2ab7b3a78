// The unmodified Java client over TLS, on the ports that clients without TLS use too.
import type { ConfigInput } from '../../src/config.ts'
import { pemFile, SERVER_TLS } from '../../test/support/certificates.ts'
import { spawnServer } from '../../test/support/server.ts'
import type { ForeignClient } from '../support/foreign-client.ts'
import { java, javaClientMissing } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('the Java client over TLS', missing)

/** The client's settings; without the second it checks no certificate. */
const CHECKING = [
  '-Dtls.enable=true',
  '-Dtls.test.mode.enable=false',
  '-Dtls.client.authServer=true',
  `-Dtls.client.trustCertPath=${pemFile('ca.pem')}`,
]
const MUTUAL = [
  ...CHECKING,
  `-Dtls.client.certPath=${pemFile('client.pem')}`,
  `-Dtls.client.keyPath=${pemFile('client.key')}`,
]

const COUNT = 20

async function sent(producer: ForeignClient): Promise<number> {
  await producer.ends()
  return producer.of('sent').length
}

testJava('Java clients with TLS and without send to each other over the same ports', async (t) => {
  const server = await spawnServer(t, { config: { tls: SERVER_TLS } })
  const common = { nameServer: server.address('nameServer'), topic: 'OverTls' }
  const consumer = await java(t, 'push', { ...common, group: 'G_TLS' }, CHECKING)
  await consumer.ready()
  for (const settings of [CHECKING, []]) {
    const producer = await java(t, 'produce', { ...common, mode: 'sync', count: COUNT }, settings)
    t.is(await sent(producer), COUNT)
  }
  t.is((await consumer.receives(2 * COUNT)).length, 2 * COUNT)
})

const enforcing = { tls: 'enforcing' } as const
const ENFORCED: ConfigInput = {
  tls: { ...SERVER_TLS, clientCertificates: 'required' },
  nameServer: enforcing,
  remoting: enforcing,
}

testJava('where TLS and client certificates are enforced, only their holders send', async (t) => {
  const server = await spawnServer(t, { config: ENFORCED })
  const common = { nameServer: server.address('nameServer'), topic: 'OverMutualTls' }
  const produce = { ...common, mode: 'sync', count: COUNT }
  for (const settings of [[], CHECKING]) {
    t.is(await sent(await java(t, 'produce', produce, settings)), 0)
  }
  t.regex(server.stderr, /it came without TLS, which this address enforces/)
  t.is(await sent(await java(t, 'produce', produce, MUTUAL)), COUNT)
})

// A gateway before an Apache RocketMQ over TLS, with certificates of a private authority.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { systemClock } from '../../src/clock.ts'
import { openClusterBroker } from '../../src/cluster/broker.ts'
import { BrokerError } from '../../src/errors.ts'
import { newMessage, receiptsOf, receiveRequest } from '../../test/support/broker.ts'
import { pem, pemFile } from '../../test/support/certificates.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'

const missing = await apacheRocketmqMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: Apache RocketMQ over TLS, because ${missing}\n`)
  test.skip(`Apache RocketMQ over TLS: ${missing}`, (t) => t.pass())
}
const testAll = missing === undefined ? test.serial : test.skip

testAll(
  'over TLS messages go in and out, and a certificate of a stranger is refused',
  async (t) => {
    t.timeout(400_000)
    const home = await mkdtemp(join(tmpdir(), 'apache-tls-'))
    t.teardown(() => rm(home, { recursive: true, force: true }))
    const file = join(home, 'tls.properties')
    const settings = {
      'tls.server.certPath': pemFile('server.pem'),
      'tls.server.keyPath': pemFile('server.key'),
      'tls.client.authServer': 'true',
      'tls.client.trustCertPath': pemFile('ca.pem'),
    }
    const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
    await writeFile(file, lines.join(''))
    await using apache = await startApacheRocketmq({
      jvm: ['-Dtls.enable=true', '-Dtls.test.mode.enable=false', `-Dtls.config.file=${file}`],
    })
    const opening = (ca: string) =>
      openClusterBroker({
        ...{ clock: systemClock, name: 'gateway' },
        options: { nameServers: [apache.nameServer], tls: { ca } },
      })
    await t.throwsAsync(opening(pem('other-ca.pem')), { code: 'UNREACHABLE' })
    const broker = await opening(pem('ca.pem'))
    t.teardown(() => broker.close())
    await broker.groups.ensure('workers')
    const [result] = await broker.publish([newMessage('secured', { body: 'a', createTopic: true })])
    t.false(result instanceof BrokerError, String(result))
    const received = await broker.receive(receiveRequest('secured', 'workers', { waitMs: 20_000 }))
    t.is(received.length, 1)
    t.deepEqual(await broker.ack(receiptsOf(received)), [null])
  },
)

// The published MQTT wire sequences against our server. What does not pass is listed by name with
// the reason why the standard does not ask for it; everything else must pass, and nothing listed
// may pass unnoticed.
import { join } from 'node:path'
import test from 'ava'
import { clearRetained, loadWireCases, runWireCase } from '../support/mqtt/wire-sequences.ts'
import { startServer } from '../support/server.ts'
import { ROOT } from '../support/sources/sources.ts'

const DIRECTORY = join(ROOT, '..', 'shared', 'conformance', 'mqtt-wire')

const NOT_APPLICABLE: Readonly<Record<string, string>> = {
  'v3.1.1 PUBLISH 34 QoS 2 Dup flow*3':
    'Wants the connection closed at the third PUBLISH of one id; each is to be answered by PUBREC (MQTT-4.3.3-10).',
  'v5.0   PUBLISH 34 QoS 2 Dup flow*3': 'As in 3.1.1.',
}

/** What the data expects of the server's CONNACK. */
const AS_THE_DATA_EXPECTS = { topicAliasMax: 10, receiveMaximum: 20 }

const cases = loadWireCases(DIRECTORY) ?? []
const testWire = cases.length === 0 ? test.skip : test
if (cases.length === 0) process.stderr.write(`SKIPPED: ${DIRECTORY} is not there\n`)

testWire('the wire sequences pass but for the listed ones', async (t) => {
  t.timeout(300_000)
  const off = { enabled: false }
  const server = await startServer(t, {
    config: { nameServer: off, remoting: off, amqp: off, mqtt: AS_THE_DATA_EXPECTS },
  })
  const failed = new Map<string, string>()
  const passed = { 3: 0, 5: 0 }
  for (const one of cases) {
    try {
      await runWireCase(one, server.port('mqtt'))
      passed[one.version === 5 ? 5 : 3]++
    } catch (error) {
      failed.set(one.name, (error as Error).message)
      await clearRetained(one, server.port('mqtt'))
    }
  }
  t.log(`${passed[3] + passed[5]} of ${cases.length} pass (3.x: ${passed[3]}, 5: ${passed[5]})`)
  const unexpected = [...failed].filter(([name]) => !Object.hasOwn(NOT_APPLICABLE, name))
  for (const [name, problem] of unexpected) t.log(`${name}: ${problem}`)
  t.deepEqual([...failed.keys()].sort(), Object.keys(NOT_APPLICABLE).sort())
})

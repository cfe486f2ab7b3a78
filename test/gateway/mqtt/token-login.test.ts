// A token brought by AUTH packets, and a new one before it ends: an unmodified mqtt.js.
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { SignJWT } from 'jose'
import mqtt, { type IDisconnectPacket, type MqttClient } from 'mqtt'
import { systemClock } from '../../../src/clock.ts'
import { overridden } from '../../support/overridden.ts'
import { startServer } from '../../support/server.ts'
import { tempDir } from '../../support/temp-dir.ts'

type AuthPacket = Parameters<MqttClient['handleAuth']>[0]

const METHOD = 'OAUTH2-JWT'
const HOUR_MS = 3_600_000
const secret = randomBytes(32)

/** Of the user, for so many hours. */
const tokenOf = (sub: string, hours = 1): Promise<string> =>
  new SignJWT({ sub, aud: 'trivet', exp: Math.floor(Date.now() / 1000) + hours * 3_600 })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(secret)

/** A broker whose clock goes on by hand. */
async function start(t: ExecutionContext) {
  const keys = join(await tempDir(t), 'jwks.json')
  const key = { kty: 'oct', k: secret.toString('base64url') }
  writeFileSync(keys, JSON.stringify({ keys: [key] }))
  const time = { aheadMs: 0 }
  const clock = overridden(systemClock, { now: () => systemClock.now() + time.aheadMs })
  const users = { ann: { publish: ['MQTT'] }, bob: { publish: ['MQTT'] } }
  const config = { jwt: { keys, audience: 'trivet' }, users }
  const { port } = await startServer(t, { config, clock })
  return { port: port('mqtt'), time }
}

const propertiesOf = (token: string) => ({
  authenticationMethod: METHOD,
  authenticationData: Buffer.from(token),
})

async function logIn(t: ExecutionContext, port: number, token: string): Promise<MqttClient> {
  const client = mqtt.connect({
    ...{ host: '127.0.0.1', port, protocolVersion: 5, reconnectPeriod: 0 },
    properties: propertiesOf(token),
  })
  t.teardown(() => client.end(true))
  await new Promise((resolve, reject) => {
    client.once('connect', resolve)
    client.once('error', reject)
  })
  client.on('error', () => {})
  return client
}

/** mqtt.js answers AUTH packets, and has no method by which one begins. */
function bring(client: MqttClient, token: string, reasonCode = 0x19): void {
  const sending = client as unknown as { _sendPacket(packet: AuthPacket): void }
  sending._sendPacket({ cmd: 'auth', reasonCode, properties: propertiesOf(token) })
}

const acceptedBy = (client: MqttClient): Promise<AuthPacket> =>
  new Promise((resolve) => {
    client.handleAuth = (packet, done) => {
      resolve(packet)
      done()
    }
  })

const endOf = (client: MqttClient): Promise<IDisconnectPacket> =>
  new Promise((resolve) => client.once('disconnect', resolve))

test('a connection stays with each token that it is brought, and ends with the last', async (t) => {
  const { port, time } = await start(t)
  const client = await logIn(t, port, await tokenOf('ann'))
  const accepted = acceptedBy(client)
  bring(client, await tokenOf('ann', 3))
  t.is((await accepted).reasonCode, 0)
  const short = endOf(await logIn(t, port, await tokenOf('ann')))
  time.aheadMs = 2 * HOUR_MS
  t.is((await short).reasonCode, 0xa0)
  await client.publishAsync('plant/7', 'x', { qos: 1 })
  const ended = endOf(client)
  time.aheadMs = 4 * HOUR_MS
  t.is((await ended).reasonCode, 0xa0)
})

for (const [what, hours, user, reason] of [
  ['one that has expired', -1, 'ann', 0x87],
  ['that of another user', 1, 'bob', 0x87],
] as const) {
  test(`in the place of a new token ${what} ends the connection`, async (t) => {
    const { port } = await start(t)
    const client = await logIn(t, port, await tokenOf('ann'))
    const ended = endOf(client)
    bring(client, await tokenOf(user, hours))
    t.is((await ended).reasonCode, reason)
  })
}

test('an AUTH that goes on with nothing is a protocol error', async (t) => {
  const { port } = await start(t)
  const client = await logIn(t, port, await tokenOf('ann'))
  const ended = endOf(client)
  bring(client, await tokenOf('ann'), 0x18)
  t.is((await ended).reasonCode, 0x82)
})

test('a token that is not believed gets CONNACK 0x86', async (t) => {
  const { port } = await start(t)
  const error = await t.throwsAsync(logIn(t, port, await tokenOf('ann', -1)))
  t.like(error, { code: 0x86 })
})

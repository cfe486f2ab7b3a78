// The MQTT front-end over a real broker whose process can die before any append, and again over
// what the log has then. Time stands still unless the test moves it.
import type { ExecutionContext } from 'ava'
import type { User } from '../../../src/access/known-users.ts'
import { UserStore } from '../../../src/access/user-store.ts'
import { MqttGateway } from '../../../src/gateway/mqtt/server.ts'
import type { Logger } from '../../../src/log.ts'
import { Numbers } from '../../../src/numbers/numbers.ts'
import { startBroker, type TestBroker } from '../broker.ts'
import { openFrontEnd } from '../front-end.ts'
import { LogLines } from '../log-lines.ts'
import { RawPeer } from '../peers/raw-peer.ts'
import { ack, connect } from './mqtt-packets.ts'

export type Users = Readonly<Record<string, User>>

export interface CrashingMqtt extends TestBroker {
  readonly port: number
  readonly log: LogLines
  /** The process dies before its append number `count` from now. Settles when it has. */
  dieAfter(count: number): Promise<void>
  /** Over what the log has now; the process is dead, and its connections are cut. */
  restart(users?: Users): Promise<CrashingMqtt>
}

export async function startCrashingMqtt(
  t: ExecutionContext,
  users: Users = {},
): Promise<CrashingMqtt> {
  return serve(t, await startBroker(t), users)
}

async function serve(t: ExecutionContext, test: TestBroker, users: Users): Promise<CrashingMqtt> {
  const { broker, clock, faults } = test
  const log = new LogLines()
  const auth = new UserStore(users, clock)
  const numbers = new Numbers()
  const gateway = new MqttGateway({ broker, auth, log: log as Logger, clock, numbers })
  const frontEnd = await openFrontEnd(t, gateway, { clock })
  const close = async (): Promise<void> => {
    await frontEnd.close(0)
    await test.close()
  }
  return {
    ...test,
    ...{ port: frontEnd.port, log, close },
    dieAfter: (count) => {
      faults.diesAt = faults.appends + count
      return new Promise((resolve) => {
        faults.died = resolve
      })
    },
    restart: async (now = users) => {
      faults.diesAt = 0
      await faults.idle()
      const after = await test.crash()
      faults.bury()
      await close()
      return serve(t, after, now)
    },
  }
}

/** A client that is connected; `present`: the broker has its session. */
export async function joined(
  port: number,
  clientId: string,
  shape: Parameters<typeof connect>[1] = {},
): Promise<{ peer: RawPeer; present: boolean; code: number }> {
  const peer = await RawPeer.connect(port)
  peer.send(connect(clientId, shape))
  const { body } = await peer.readPacket()
  return { peer, present: body[0] === 1, code: body[1]! }
}

/** The payload of the next PUBLISH, other packets passed; at QoS 1 it is acknowledged. */
export async function nextPayload(peer: RawPeer): Promise<string> {
  for (;;) {
    const { first, body } = await peer.readPacket()
    if (first >>> 4 !== 3) continue
    const topicEnd = 2 + body.readUInt16BE(0)
    if ((first & 6) === 0) return body.subarray(topicEnd).toString()
    peer.send(ack('puback', body.readUInt16BE(topicEnd)))
    return body.subarray(topicEnd + 2).toString()
  }
}

/** The payloads before `last`. */
export async function payloadsUntil(peer: RawPeer, last: string): Promise<string[]> {
  const payloads: string[] = []
  for (;;) {
    const payload = await nextPayload(peer)
    if (payload === last) return payloads
    payloads.push(payload)
  }
}

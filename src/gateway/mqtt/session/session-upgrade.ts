// Sessions as they were saved before a subscription had a place of its own: one position of the one
// log stood for all of them, and for each message in flight. Turned into today's form when they are
// loaded; what is saved from then on has that.
import { z } from 'zod'
import { logPosition } from '../../../model/positions.ts'
import type { Broker } from '../../../port/broker.ts'
import { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import { RELEASED } from './in-flight.ts'
import { OWN_BROKER } from './session-record.ts'

/** The first field of every record. */
const FORMAT_1 = '{"format":1,'

const NOWHERE = { topic: '', queueId: 0, offset: 0, stamp: 0 }

const number = z.number()
const formerSession = z.looseObject({
  cursor: number,
  subscriptions: z.array(z.looseObject({ queue: z.string(), from: number })),
  inFlight: z.array(z.tuple([number, number, number, number])),
})

/** The bytes as they are when there is nothing to change, or nothing that could be read. */
export async function upgraded(bytes: Buffer, broker: Broker): Promise<Buffer> {
  if (bytes.toString('latin1', 0, FORMAT_1.length) !== FORMAT_1) return bytes
  let former: z.output<typeof formerSession>
  try {
    former = formerSession.parse(JSON.parse(bytes.toString()))
  } catch {
    return bytes
  }
  const { brokerName } = broker.identity
  const { cursor, subscriptions, inFlight, ...rest } = former
  const homes = new Map<string, number>()
  const entries: number[][] = []
  for (const [packetId, position, qos, state] of inFlight) {
    const record = await broker.lookup.byPosition(brokerName, logPosition(position))
    // What is gone cannot be sent again, but PUBREL of it can.
    if (record === undefined && state !== RELEASED) continue
    const { topic, queueId, offset, stamp } = record
      ? new OutgoingMessage(record, 0, brokerName)
      : NOWHERE
    if (!homes.has(topic)) homes.set(topic, homes.size)
    entries.push([packetId, homes.get(topic)!, queueId, offset, stamp, qos, state])
  }
  const saved = {
    ...rest,
    format: 2,
    subscriptions: subscriptions.map(({ queue, from, ...options }) => ({
      ...options,
      places: queue === '' ? [] : [[OWN_BROKER, queue, 0, from, from, cursor]],
    })),
    homes: [...homes.keys()].map((topic) => [OWN_BROKER, topic]),
    inFlight: entries,
  }
  return Buffer.from(JSON.stringify(saved))
}

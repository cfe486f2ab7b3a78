// pub and sub over RocketMQ's protocol, through the SDK.
import {
  BatchError,
  type Client,
  connect,
  type Message,
  type SendResult,
} from '../../client/index.ts'
import { BrokerError } from '../../errors.ts'
import { BODY_BYTES_MAX } from '../../model/limits.ts'
import { connectOptions } from '../connection.ts'
import { answerTimeoutMs } from '../patience.ts'
import {
  type Accepted,
  type Arrival,
  allAccepted,
  type Leg,
  type LegAround,
  type Letter,
  type ShownMessage,
  type Wish,
  whenAborted,
} from './leg.ts'

export async function openNativeLeg(around: LegAround): Promise<Leg> {
  if (around.flags.at !== undefined) {
    throw new BrokerError('ARGUMENT_INVALID', '--at goes with --via; say --name-server here')
  }
  const timeoutMs = answerTimeoutMs(around.flags.timeout)
  const bodyBytesMax = BODY_BYTES_MAX
  const client = await connect({
    ...connectOptions(around),
    inOrder: true,
    timeoutMs,
    bodyBytesMax,
  })
  return {
    publish: (letters, accepted) => publish(client, letters, accepted, around.signal),
    arrivals: (wish, signal) => arrivals(client, wish, signal),
    close: () => client.close(),
  }
}

async function publish(
  client: Client,
  letters: readonly Letter[],
  accepted: Accepted,
  signal: AbortSignal,
): Promise<void> {
  const results = await sendTogether(client, letters, signal)
  const sent = results.map(async (result, at) => {
    if (result instanceof BrokerError) throw result
    const { messageId, topic, brokerName, queueId, queueOffset, offsetMessageId } = result
    if (result.status === 'not-replicated') {
      const text =
        'the broker stored it, and too few slaves have it: it may be lost with its machine'
      throw new BrokerError('NOT_REPLICATED', `${text}; sent again it may be there twice`)
    }
    accepted(at, { messageId, topic, brokerName, queueId, queueOffset, offsetMessageId })
  })
  await allAccepted(sent)
}

async function sendTogether(
  client: Client,
  letters: readonly Letter[],
  signal: AbortSignal,
): Promise<readonly (SendResult | BrokerError)[]> {
  const [first] = letters
  if (letters.length === 1 && first !== undefined) return [await client.send(first, { signal })]
  try {
    return await client.sendBatch(letters, { signal })
  } catch (error) {
    if (error instanceof BatchError) return error.results
    throw error
  }
}

async function* arrivals(client: Client, wish: Wish, signal: AbortSignal): AsyncIterable<Arrival> {
  const { topic, tags, sql, group, from } = wish
  void tell(client, wish)
  if (group === undefined) {
    await using reader = client.read({ topic, tags, sql, from })
    whenAborted(signal, () => void reader.close())
    for await (const message of reader) yield arrivalOf(message, async () => {})
  } else {
    await using subscription = client.subscribe({ group, topic, tags, sql, from })
    whenAborted(signal, () => void subscription.close())
    for await (const delivery of subscription) yield arrivalOf(delivery, () => delivery.ack())
  }
}

export const shownOf = (message: Message): ShownMessage => ({
  topic: message.topic,
  tag: message.tag,
  keys: message.keys,
  orderingKey: message.orderingKey,
  properties: Object.fromEntries(message.properties),
  body: message.body,
})

const arrivalOf = (message: Message, settle: () => Promise<void>): Arrival => ({
  ...shownOf(message),
  details: {
    messageId: message.messageId,
    brokerName: message.brokerName,
    queueId: message.queueId,
    queueOffset: message.queueOffset,
    storedMs: message.storeTimestamp,
    attempt: message.attempt,
  },
  settle,
})

/** Errors that name times or places differ each time. */
const TOLD_MAX = 100

/** Each thing once: what lasts is told when it begins, not as often as it is tried. */
async function tell(client: Client, { topic, note }: Wish): Promise<void> {
  const told = new Set<string>()
  const once = (text: string): void => {
    if (told.has(text)) return
    if (told.size === TOLD_MAX) told.clear()
    told.add(text)
    note(text)
  }
  for await (const status of client.status()) {
    if (status.type === 'connected') told.clear()
    if (status.type === 'waiting') {
      const isMissing = status.error.code === 'TOPIC_NOT_FOUND'
      once(isMissing ? `there is no topic '${topic}' yet; waiting for it` : status.error.message)
    }
    if (status.type === 'disconnected') once(`${status.error.message}; connecting again`)
    if (status.type === 'unreachable') {
      note(`the broker '${status.broker}' at ${status.address} is away; its messages wait for it`)
    }
    if (status.type === 'reachable') {
      note(`the broker '${status.broker}' at ${status.address} is back`)
    }
    if (status.type === 'error') once(status.error.message)
  }
}

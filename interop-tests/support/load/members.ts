// What the members of one group were given together.
import { connect } from '../../../src/client/index.ts'
import { bodyOf, type ForeignClient, type Got } from '../foreign-client.ts'

export const withBody = ({ got }: ForeignClient, start: string): readonly Got[] =>
  got.filter((message) => bodyOf(message).startsWith(start))

/** Waits until something is true of what the consumers were given together. */
export async function either(
  consumers: readonly ForeignClient[],
  what: string,
  isTrue: () => boolean,
): Promise<void> {
  await Promise.race(consumers.map((consumer) => consumer.until(what, isTrue)))
}

/** Waits until so many messages were delivered twice. */
export async function eachGotTwice(
  consumers: readonly ForeignClient[],
  count: number,
): Promise<void> {
  const areTwice = (): boolean => {
    const times = new Map<string, number>()
    for (const { msgId } of consumers.flatMap((consumer) => consumer.got)) {
      times.set(msgId, (times.get(msgId) ?? 0) + 1)
    }
    return [...times.values()].filter((n) => n >= 2).length >= count
  }
  await either(consumers, `${count} messages came twice`, areTwice)
}

/**
 * Sends until each of two consumers has half of the four queues: while one of them does not know yet
 * what the other has, both may be given the same.
 */
export async function untilShared(
  consumers: readonly ForeignClient[],
  nameServer: string,
  topic: string,
): Promise<void> {
  const EACH = 4
  await using client = await connect({ nameServers: nameServer })
  for (let round = 0; ; round++) {
    const body = `round ${round}.`
    for (let n = 0; n < 2 * EACH; n++) await client.send({ topic, body })
    const counts = (): number[] => consumers.map((consumer) => withBody(consumer, body).length)
    const total = (): number => counts().reduce((sum, count) => sum + count, 0)
    await either(consumers, 'a round came', () => total() >= 2 * EACH)
    if (counts().every((count) => count === EACH)) return
  }
}

export function groupByQueue(messages: readonly Got[]): Map<number, Got[]> {
  const queues = new Map<number, Got[]>()
  for (const message of messages) {
    const queue = queues.get(message.queueId)
    if (queue) queue.push(message)
    else queues.set(message.queueId, [message])
  }
  return queues
}

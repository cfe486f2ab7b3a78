// What the parts of the SDK's suite share.
import type { ExecutionContext } from 'ava'
import type { Client, ConnectOptions, Status } from '../../../src/client/index.ts'

export const WAIT_MS = 30_000

export type MakeClient = (t: ExecutionContext, options?: ConnectOptions) => Promise<Client>
export type MakeTopic = (mq: Client, queues?: number) => Promise<string>

let serial = 0

/** Names of a test's own: the peer is shared. */
export const nameOf = (what: string): string => `${what}-${process.pid}-${++serial}`

/** One after the other, so that in one queue they are in this order. */
export async function sendMany(mq: Client, topic: string, from: number, to: number): Promise<void> {
  for (const body of numbers(from, to)) await mq.send({ topic, body })
}

export const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => String(from + i))

/** How many queues of a topic each rebalance of a group's members ended with. */
export function assignments(mq: Client, group: string, topic: string) {
  const sizes: number[] = []
  let look: () => void = () => {}
  const isOurs = (status: Status): status is Extract<Status, { type: 'assigned' }> =>
    status.type === 'assigned' && status.group === group && status.topic === topic
  void (async () => {
    for await (const status of mq.status()) {
      if (!isOurs(status)) continue
      sizes.push(status.queues.length)
      look()
    }
  })()
  return {
    until: (isDone: (sizes: readonly number[]) => boolean) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`shares were ${sizes}`)), WAIT_MS)
        look = () => {
          if (!isDone(sizes)) return
          clearTimeout(timer)
          resolve()
        }
        look()
      }),
  }
}

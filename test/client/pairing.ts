// A client with a small server that misbehaves on demand, and waiting for what the two of them do.
import { setTimeout } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { type Client, type ConnectOptions, connect, type Status } from '../../src/client/index.ts'
import type { Clock } from '../../src/clock.ts'
import { REQUEST } from '../../src/remoting/codes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  type FakeOptions,
  type FakeRocketmq,
  startFakeRocketmq,
} from '../support/native/fake-rocketmq.ts'

export interface Pair {
  readonly fake: FakeRocketmq
  readonly mq: Client
  readonly statuses: Status[]
}

export async function pair(
  t: ExecutionContext,
  options: ConnectOptions = {},
  fakeOptions: FakeOptions = {},
): Promise<Pair> {
  const fake = await startFakeRocketmq(t, fakeOptions)
  const mq = await connect({ nameServers: fake.address, ...options })
  t.teardown(() => closed(mq.close({ deadlineMs: 0 }), options.clock))
  const statuses: Status[] = []
  void (async () => {
    for await (const status of mq.status()) statuses.push(status)
  })()
  return { fake, mq, statuses }
}

export const G = { group: 'g', topic: 'T', from: 'first' } as const
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turn()
}

/**
 * Moves the time on until it is so. The sockets are real and need real time for an answer, so no
 * step may come close to the deadline of a request.
 */
export async function untilWith(
  clock: FakeClock,
  isTrue: () => boolean,
  stepMs = 10,
): Promise<void> {
  while (!isTrue()) {
    await clock.advanceAsync(stepMs)
    await setTimeout(1)
  }
}

/**
 * Moves the time on, where it is a test's, until something is closed: a last commit may follow its
 * pull by a while.
 */
export async function closed(closing: Promise<void>, clock?: Clock): Promise<void> {
  let isClosed = false
  const done = closing.finally(() => {
    isClosed = true
  })
  if (clock instanceof FakeClock) await untilWith(clock, () => isClosed)
  await done
}

/** Everything that has been set in motion over the sockets has arrived. */
export async function quiet(clock: FakeClock): Promise<void> {
  for (let i = 0; i < 50; i++) await clock.advanceAsync(0)
}

export const errorsOf = (statuses: readonly Status[]): string[] =>
  statuses.flatMap((status) => ('error' in status ? [status.error.code] : []))

/** How many queues of T the member had after each change. */
export const sharesOf = (statuses: readonly Status[]): number[] =>
  statuses.flatMap((s) => (s.type === 'assigned' && s.topic === 'T' ? [s.queues.length] : []))

export const pulls = (fake: FakeRocketmq, topic = 'T') =>
  fake.requests.filter(
    ({ code, fields }) => code === REQUEST.pullMessage && fields.get('topic') === topic,
  )

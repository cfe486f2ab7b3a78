// What holds while calls fail: after the codes that leave it open, what was asked for may have been
// done; after all others it was not. Over a broker that does not fail all of it holds as well.
import { BrokerError } from '../../../src/errors.ts'
import type { ReceivedMessage } from '../../../src/model/message.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { RecordView } from '../../../src/model/record.ts'
import { CLAIM_HANDOVER_MS, type Claim, NO_STATE } from '../../../src/model/state.ts'
import { UNCERTAIN_CODES } from '../../../src/port/broker.ts'
import { codeOf, newMessage, receiveRequest, topicOf } from '../../support/broker.ts'
import type { BrokerUnderTest, Case } from '../broker.ts'
import { nameOf } from './names.ts'
import { firstQueue, newGroup, newTopic, read, send } from './support.ts'

const TRIES_MAX = 200

/** The call again until it is done: for calls that may be made twice. */
async function patient<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof BrokerError) || tries === TRIES_MAX) throw error
    }
  }
}

/** Calls fail within `work`, and do not any more after it. */
async function whileFailing(at: BrokerUnderTest, work: () => Promise<unknown>): Promise<void> {
  const calm = at.fail?.()
  try {
    await work()
  } finally {
    calm?.()
  }
}

export function failing(test: Case): void {
  test('what was accepted is stored, what was refused is not, and keys keep their order', async (t, at) => {
    const topic = await newTopic(at.port)
    const accepted: number[] = []
    const refused: number[] = []
    const publish = async (n: number): Promise<void> => {
      const message = newMessage(topic, { orderingKey: `${n % 4}`, body: `${n}` })
      const [result] = await at.port.publish([message]).catch((error) => [error as BrokerError])
      if (!(result instanceof BrokerError)) accepted.push(n)
      else if (!UNCERTAIN_CODES.has(result.code)) refused.push(n)
    }
    await whileFailing(at, () => Promise.all(Array.from({ length: 200 }, (_, n) => publish(n))))
    const found: number[] = []
    // Messages are there for readers soon after they were accepted.
    while (accepted.some((n) => !found.includes(n))) {
      found.length = 0
      for (const queue of await at.port.topics.ranges(topic)) {
        found.push(...(await read(at.port, topic, Number(queue.maxOffset), queue)).map(Number))
      }
    }
    t.deepEqual(
      refused.filter((n) => found.includes(n)),
      [],
    )
    for (let key = 0; key < 4; key++) {
      const own = found.filter((n) => n % 4 === key)
      t.deepEqual(
        own,
        [...own].sort((a, b) => a - b),
      )
    }
  })

  test('what was acknowledged never comes again, and nothing is lost', async (t, at) => {
    const topic = await newTopic(at.port)
    const group = await newGroup(at.port)
    const bodies = Array.from({ length: 40 }, (_, n) => `${n}`)
    await send(at.port, topic, ...bodies)
    const seen = new Set<string>()
    const done = new Set<string>()
    const settle = async ({ record, receipt }: ReceivedMessage): Promise<void> => {
      const body = new RecordView(record).body.toString()
      t.false(done.has(body), `${body} came again`)
      seen.add(body)
      let isOpen = false
      const [result] = await patient(async () => {
        const call = at.port.ack([receipt])
        isOpen ||= UNCERTAIN_CODES.has((await codeOf(call)) as never)
        return call
      })
      // Acknowledged by a call that did not say so.
      if (result === null || isOpen) done.add(body)
    }
    await whileFailing(at, async () => {
      for (let round = 0; round < TRIES_MAX && done.size < bodies.length; round++) {
        const request = receiveRequest(topic, group, { maxMessages: 4, invisibleMs: 60_000 })
        const received = await at.port.receive(request).catch(() => [])
        await Promise.all(received.map(settle))
        // What a lost answer had comes again when its time is over.
        if (received.length === 0) await at.pass(60_000)
      }
    })
    t.is(done.size, bodies.length)
    t.is(seen.size, bodies.length)
    await at.pass(60_000)
    t.deepEqual(await at.port.receive(receiveRequest(topic, group)), [])
  })

  test('a state that expects a version takes each change once, however calls fail', async (t, at) => {
    const { states } = at.port
    const id = nameOf('state')
    const add = async (token: string): Promise<void> => {
      for (;;) {
        const state = await patient(() => states.load(id))
        const tokens = state === undefined ? [] : state.value.toString().split(' ')
        if (tokens.includes(token)) return
        const value = Buffer.from([...tokens, token].join(' '))
        await states.save(id, value, { expected: state?.version ?? NO_STATE }).catch(() => {})
      }
    }
    const tokens = Array.from({ length: 12 }, (_, n) => `t${n}`)
    await whileFailing(at, () => Promise.all(tokens.map(add)))
    const value = (await states.load(id))?.value.toString()
    t.deepEqual(value?.split(' ').sort(), tokens.sort())
  })

  test('a claim whose answer was lost holds up no other for longer than its time', async (t, at) => {
    const { states } = at.port
    const id = nameOf('claim')
    const claims: Claim[] = []
    await whileFailing(at, async () => {
      while (claims.length < 4) {
        const claiming = states
          .claim(id, () => {})
          .then(
            (claim) => claims.push(claim),
            () => {},
          )
        await at.pass(CLAIM_HANDOVER_MS)
        await claiming
      }
    })
    for (const [i, claim] of claims.entries()) {
      if (i > 0) t.true(claim.number > claims[i - 1]!.number)
      if (i === claims.length - 1) continue
      t.is(await codeOf(states.save(id, Buffer.from('1'), { claim })), 'CLAIM_LOST')
    }
  })

  test('what may be asked for twice is done in the end', async (t, at) => {
    const { port } = at
    const [topic, group] = [nameOf('topic'), nameOf('group')]
    await whileFailing(at, async () => {
      await patient(() => port.topics.put(topicOf(topic, 2)))
      await patient(() => port.groups.ensure(group))
      const [queue] = await patient(() => port.topics.ranges(topic))
      await patient(() => port.cursors.commit(group, queue!, queueOffset(0)))
      await patient(() => port.states.save(nameOf('state'), Buffer.from('1')))
    })
    t.is((await port.topics.get(topic))?.readQueues, 2)
    t.is(Number(await port.cursors.committed(group, await firstQueue(port, topic))), 0)
  })
}

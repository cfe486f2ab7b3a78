// Random members of one group come, leave and are killed in virtual time while messages come: soon
// after the last change each message was consumed.
import test, { type ExecutionContext } from 'ava'
import { STRATEGIES, type Strategy } from '../../../src/broker/consume/queue-share.ts'
import { newMessage, startBroker, topicOf } from '../../support/broker.ts'
import {
  type GroupMember,
  NativeMember,
  PerMessageMember,
  type SharedGroup,
} from '../../support/native/group-members.ts'
import { freshSeed, Random } from '../../support/random.ts'

const TOPIC = 'orders'
const GROUP = 'billing'
const STEP_MS = 100
const CHANGES = 6
/** Without a change every queue is read again after this time. */
const READ_AGAIN_MS = 30_000

class Shared {
  readonly consumed = new Map<string, string[]>()
  readonly members: GroupMember[] = []
  readonly history: string[] = []
  readonly sent = new Map<string, number>()
  readonly #group: SharedGroup
  readonly #random: Random
  readonly #strategy: Strategy
  #made = 0

  constructor(group: Omit<SharedGroup, 'consumed'>) {
    this.#random = group.random
    this.#strategy = group.random.pick(STRATEGIES)
    this.#group = { ...group, consumed: (body, member) => this.#count(body, member) }
  }

  get nowMs(): number {
    return this.#group.test.clock.monotonic()
  }

  get missing(): string[] {
    return [...this.sent.keys()].filter((body) => !this.consumed.has(body))
  }

  async change(isOrderly: boolean): Promise<void> {
    const { members } = this
    const random = this.#random
    const leaves = members.length > 4 || (members.length > 1 && random.chance(0.45))
    if (leaves) {
      const [member] = members.splice(random.int(members.length), 1)
      const isKilled = random.chance(0.4)
      this.history.push(`${this.nowMs} ${member!.id} ${isKilled ? 'is killed' : 'leaves'}`)
      await (isKilled ? member!.kill() : member!.leave())
      return
    }
    const isNative = random.chance(0.5)
    const id = isNative ? `10.0.0.1@n${this.#made++}` : `device-${this.#made++}`
    const member = isNative
      ? new NativeMember(this.#group, id, isOrderly, this.#strategy)
      : new PerMessageMember(this.#group, id)
    this.history.push(`${this.nowMs} ${id} joins`)
    members.push(member)
    await member.join()
  }

  async send(): Promise<void> {
    const { queues, test } = this.#group
    const messages = Array.from({ length: queues }, (_, queueId) => {
      const body = `${queueId}/${this.sent.size + queueId}`
      return newMessage(TOPIC, { queueId, body })
    })
    await test.broker.publish(messages)
    for (const { body } of messages) this.sent.set(body.toString(), this.nowMs)
  }

  async pass(ms: number, sendEveryMs = Number.POSITIVE_INFINITY): Promise<void> {
    const { test } = this.#group
    for (let at = 0; at < ms; at += STEP_MS) {
      test.clock.advance(STEP_MS)
      for (const member of [...this.members]) await member.act()
      if (at % sendEveryMs === 0) await this.send()
      for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  #count(body: string, member: string): void {
    this.consumed.set(body, [...(this.consumed.get(body) ?? []), member])
  }
}

async function run(t: ExecutionContext, seed: number, isOrderly: boolean): Promise<void> {
  const random = new Random(seed)
  const queues = random.pick([1, 3, 4, 8])
  const test = await startBroker(t)
  await test.broker.topics.put(topicOf(TOPIC, queues))
  const shared = new Shared({ test, topic: TOPIC, group: GROUP, queues, random })
  for (let changes = 0; changes < CHANGES; changes++) {
    await shared.change(isOrderly)
    await shared.pass(random.pick([200, 1_000, 5_000, 12_000, 25_000]), 500)
  }
  await shared.pass(READ_AGAIN_MS, 2_000)
  const beforeMs = shared.nowMs
  await shared.send()
  await shared.pass(12_000)
  const { missing, history } = shared
  t.deepEqual(missing, [], `seed ${seed}, ${queues} queues\n${history.join('\n')}`)
  const last = [...shared.sent].filter(([, ms]) => ms >= beforeMs).map(([body]) => body)
  t.true(last.every((body) => shared.consumed.get(body)!.length === 1))
}

for (const isOrderly of [false, true]) {
  test(`soon after the last change every queue is read, ${isOrderly ? 'in order' : 'by threads'}`, async (t) => {
    await run(t, freshSeed(t), isOrderly)
  })
}

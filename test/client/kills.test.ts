// The SDK while its broker is killed and started again and again: what was acknowledged is not
// lost, and only what was on its way comes again. `TRIVET_KILLS` says how often it is killed.
import test, { type ExecutionContext } from 'ava'
import { type Client, connect, type Delivery } from '../../src/client/index.ts'
import { type SpawnedServer, spawnServer } from '../support/server.ts'
import { eventually } from '../support/waiting.ts'

const KILLS = Number(process.env['TRIVET_KILLS'] ?? 2)
/** Sends that are acknowledged between two kills, by so many senders. */
const EACH = 100
const SENDERS = 8
const CALL = { timeoutMs: 150_000 }
const TOPIC = 'orders'
const DEALS = 'deals'

/** What one group was given, and how often each place of the log. */
class Group {
  readonly name: string
  readonly bodies = new Set<string>()
  readonly times = new Map<number, number>()
  /** The end, by queue, of what was given so far, and before the broker started last. */
  readonly #ends = new Map<string, number>()
  #before: ReadonlyMap<string, number> = new Map()

  constructor(name: string) {
    this.name = name
  }

  take(delivery: Delivery): void {
    this.bodies.add(delivery.text())
    this.times.set(delivery.logPosition, (this.times.get(delivery.logPosition) ?? 0) + 1)
    const queue = `${delivery.topic}/${delivery.queueId}`
    this.#ends.set(queue, Math.max(this.#ends.get(queue) ?? 0, delivery.queueOffset + 1))
  }

  started(): void {
    this.#before = new Map(this.#ends)
  }

  /** The broker knows that what was given before its start is done: it does not come again. */
  async hasProgress(mq: Client): Promise<boolean> {
    const { queues } = await mq.admin.groups.describe(this.name, CALL)
    return queues.every(
      ({ topic, queueId, committedOffset }) =>
        committedOffset >= (this.#before.get(`${topic}/${queueId}`) ?? 0),
    )
  }
}

async function started(t: ExecutionContext, server: SpawnedServer): Promise<Client> {
  const mq = await connect({
    nameServers: server.address('nameServer'),
    ...CALL,
    checkTransaction: ({ keys }) => outcomeOf(keys[0]!),
  })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  await mq.admin.topics.create({ name: TOPIC, queues: 4 }, CALL)
  await mq.admin.topics.create({ name: DEALS, queues: 1 }, CALL)
  return mq
}

/** Each third is left open, and found to be committed when it is asked about. */
const outcomeOf = (body: string): 'commit' | 'rollback' =>
  Number(body) % 3 === 1 ? 'rollback' : 'commit'

/** By the three ways of consuming, until `isOver`. */
function consume(mq: Client, groups: readonly [Group, Group, Group], signal: AbortSignal) {
  const [handled, polled, popped] = groups
  const from = 'first'
  const handling = mq.consume({ group: handled.name, topic: TOPIC, from }, (delivery) =>
    handled.take(delivery),
  )
  const ask = async (group: Group, next: () => Promise<readonly Delivery[]>): Promise<void> => {
    while (!signal.aborted) {
      const deliveries = await next().catch(() => [])
      for (const delivery of deliveries) {
        group.take(delivery)
        await delivery.ack().catch(() => {})
      }
    }
  }
  const options = { max: 16, waitMs: 500, signal }
  const polling = ask(polled, () => mq.poll({ group: polled.name, topic: TOPIC, from }, options))
  const popping = ask(popped, () => mq.pop({ group: popped.name, topic: TOPIC, from }, options))
  return Promise.all([handling, polling, popping])
}

test('what was acknowledged is there after each kill, and comes again once for each kill at most', async (t) => {
  t.timeout(120_000 + KILLS * 20_000)
  const broker = { transactionTimeoutMs: 1_000, transactionCheckIntervalMs: 1_000 }
  const server = await spawnServer(t, { config: { broker } })
  const mq = await started(t, server)
  const groups = [new Group('handled'), new Group('polled'), new Group('popped')] as const
  const deals = new Group('deals')
  const over = new AbortController()
  const consuming = consume(mq, groups, over.signal)
  await mq.consume({ group: deals.name, topic: DEALS, from: 'first' }, (one) => deals.take(one))
  const sent = new Set<string>()
  const dealt: string[] = []
  let isEnough = false
  const sending = Array.from({ length: SENDERS }, async (_, sender) => {
    for (let n = 0; !isEnough; n++) {
      await mq.send({ topic: TOPIC, body: `${sender}/${n}` })
      sent.add(`${sender}/${n}`)
    }
  })
  const dealing = async (): Promise<void> => {
    for (let n = 0; !isEnough; n++) {
      const body = `${n}`
      const outcome = n % 3 === 2 ? 'unknown' : outcomeOf(body)
      const half = mq.transaction({ topic: DEALS, body, keys: [body] }, async () => outcome)
      await half
      dealt.push(body)
    }
  }
  const dealingAll = dealing()
  const all = [...groups, deals]
  for (let kill = 0; kill < KILLS; kill++) {
    const enough = sent.size + EACH
    await eventually(async () => sent.size >= enough)
    for (const group of all) await eventually(() => group.hasProgress(mq))
    await server.kill()
    for (const group of all) group.started()
    await server.start()
  }
  isEnough = true
  await Promise.all([...sending, dealingAll])
  for (const { name, bodies } of groups) {
    await eventually(async () => [...sent].every((body) => bodies.has(body)))
    t.log(name, bodies.size)
  }
  const committed = dealt.filter((body) => outcomeOf(body) === 'commit')
  await eventually(async () => committed.every((body) => deals.bodies.has(body)))
  over.abort()
  await consuming
  t.false([...deals.bodies].some((body) => outcomeOf(body) === 'rollback'))
  for (const { name, times, bodies } of all) {
    const again = [...times.values()].filter((count) => count > 1)
    t.true(
      // What was settled in the last 200 ms before a kill is not on the disk.
      again.every((count) => count <= 1 + KILLS),
      `${name}: ${again}`,
    )
    // A send whose answer was lost is made again, and stored a second time.
    t.true(times.size - bodies.size <= KILLS * SENDERS, `${times.size} for ${bodies.size}`)
    t.log(`${name}: ${bodies.size} messages, stored ${times.size} times, again ${again.length}`)
  }
})

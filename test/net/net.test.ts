import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import { type PublishBatch, PublishLine } from '../../src/gateway/shared/publish-line.ts'
import { silentLogger } from '../../src/log.ts'
import { NO_HOST } from '../../src/model/host.ts'
import { type NewMessage, newMessage, type PublishResult } from '../../src/model/message.ts'
import { ConnectionBudget } from '../../src/net/connection-budget.ts'
import { Listener } from '../../src/net/listener.ts'
import { TurnBudget } from '../../src/net/turn-budget.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import type { Gateway, GatewaySocket } from '../../src/port/gateway.ts'
import { Traffic } from '../../src/port/traffic.ts'
import { FakeClock } from '../support/fake-clock.ts'
import type { Teardown } from '../support/temp-dir.ts'

const taken = (budget: ConnectionBudget, listener: string): number => {
  let count = 0
  while (budget.take(listener)) count++
  return count
}

test('one listener has what the others leave idle, but for their reserves', (t) => {
  const budget = new ConnectionBudget(20_000, 4)
  t.is(taken(budget, 'mqtt'), 20_000 - 3 * 256)
  t.is(taken(budget, 'amqp'), 256)
  t.is(taken(budget, 'remoting'), 256)
  budget.give('mqtt')
  t.is(taken(budget, 'nameServer'), 257)
})

test('a small budget keeps a small reserve', (t) => {
  const budget = new ConnectionBudget(100, 4)
  t.is(taken(budget, 'mqtt'), 85)
  t.is(taken(budget, 'amqp'), 5)
})

test('never more than the total, and each listener its reserve, whatever comes and goes', (t) => {
  const listeners = ['a', 'b', 'c']
  const step = fc.tuple(fc.constantFrom(...listeners), fc.boolean())
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const budget = new ConnectionBudget(60, 3)
      const open = new Map(listeners.map((name) => [name, 0]))
      for (const [name, isTaking] of steps) {
        const had = open.get(name)!
        if (isTaking) {
          const may = budget.take(name)
          t.true(may || had >= 3)
          if (may) open.set(name, had + 1)
        } else if (had > 0) {
          budget.give(name)
          open.set(name, had - 1)
        }
        t.true([...open.values()].reduce((sum, count) => sum + count, 0) <= 60)
      }
    }),
  )
})

const turnOver = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('a turn is spent when handling took its time, and the next one begins anew', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock)
  t.false(turn.isSpent(1))
  clock.advance(19)
  t.false(turn.isSpent(1))
  clock.advance(1)
  t.true(turn.isSpent(1))
  await turnOver()
  t.false(turn.isSpent(1))
})

test('what is kept is handled in order, no more in a turn than it has time for', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock)
  const handled: number[] = []
  turn.isSpent(1)
  for (let i = 0; i < 5; i++) {
    turn.handleLater(1, () => {
      clock.advance(10)
      handled.push(i)
    })
  }
  await turnOver()
  t.deepEqual(handled, [], 'the sockets are looked at first')
  await turnOver()
  t.deepEqual(handled, [0, 1])
  await turnOver()
  t.deepEqual(handled, [0, 1, 2, 3])
  await turnOver()
  t.deepEqual(handled, [0, 1, 2, 3, 4])
})

test('what one that is kept puts in line goes behind those that wait', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock)
  const handled: string[] = []
  turn.handleLater(1, () => {
    clock.advance(20)
    turn.handleLater(1, () => handled.push('added'))
  })
  turn.handleLater(1, () => handled.push('second'))
  while (handled.length < 2) await turnOver()
  t.deepEqual(handled, ['second', 'added'])
})

test('no more is kept than the limit; what comes beyond is handled at once', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock, { keptBytesMax: 10 })
  turn.isSpent(1)
  clock.advance(20)
  t.true(turn.isSpent(10))
  let isHandled = false
  turn.handleLater(10, () => {
    isHandled = true
  })
  t.false(turn.isSpent(1))
  while (!isHandled) await turnOver()
  turn.isSpent(1)
  clock.advance(20)
  t.true(turn.isSpent(10))
})

test('what one goes on with in promises counts before the next one has its turn', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock)
  const handled: number[] = []
  const work = async (i: number): Promise<void> => {
    for (let step = 0; step < 4; step++) await undefined
    clock.advance(20)
    handled.push(i)
  }
  for (let i = 0; i < 3; i++) turn.handleLater(1, () => void work(i))
  await turnOver()
  t.deepEqual(handled, [0])
  await turnOver()
  t.deepEqual(handled, [0, 1])
})

test('where only its own time counts, what others did in the turn keeps nothing', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock, { turnMs: 5, countsOwnOnly: true })
  const callbackOver = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve))
  t.false(turn.isSpent(1))
  clock.advance(4)
  await callbackOver()
  clock.advance(100)
  t.false(turn.isSpent(1))
  clock.advance(1)
  await callbackOver()
  t.true(turn.isSpent(1))
  await turnOver()
  t.false(turn.isSpent(1))
})

const place = { topic: 'T', queueId: 0, createTopic: false }
const message = (body: string): NewMessage =>
  newMessage(place, undefined, Buffer.from(body), Buffer.alloc(0), NO_HOST, 0)
const RESULT = {} as PublishResult

class Batch implements PublishBatch {
  messages: NewMessage[] = []
  bytes = 0
  text = ''
  readonly #answered: (batch: Batch, results: readonly PublishResult[]) => void

  constructor(answered: (batch: Batch, results: readonly PublishResult[]) => void) {
    this.#answered = answered
  }

  add(body: string): void {
    this.messages.push(message(body))
    this.text += body
    this.bytes += body.length
  }

  settle(results: readonly PublishResult[]): void {
    this.#answered(this, results)
  }
}

/** A line over a broker that answers call by call, as the test says. */
function lineOf(unstoredBytesMax = 100) {
  const calls: { settle: (results: PublishResult[]) => void; fail: (error: unknown) => void }[] = []
  const answers: string[] = []
  const changes: boolean[] = []
  const answered = (batch: Batch, results: readonly PublishResult[]): void => {
    const codes = results.map((result) => (result instanceof BrokerError ? result.code : 'stored'))
    answers.push(`${batch.text} ${codes.join(' ')}`)
  }
  const line: PublishLine<Batch> = new PublishLine({
    clock: new FakeClock(),
    traffic: new Traffic(new Numbers(), 'mqtt'),
    unstoredBytesMax,
    newBatch: () => new Batch(answered),
    publish: () => new Promise((settle, fail) => calls.push({ settle, fail })),
    changed: () => changes.push(line.isFull),
  })
  const chunk = (...bodies: string[]): void => {
    for (const body of bodies) line.batch.add(body)
    line.flush()
  }
  return { line, calls, answers, changes, chunk, answered }
}

test('the messages of a chunk are one publish, and a chunk without messages is none', (t) => {
  const { calls, chunk } = lineOf()
  chunk('a', 'b')
  chunk()
  t.is(calls.length, 1)
})

test('batches are answered in the order in which they came, whichever call settles first', async (t) => {
  const { line, calls, answers, chunk } = lineOf()
  chunk('a')
  chunk('b', 'c')
  calls[1]!.settle([RESULT, RESULT])
  await Promise.resolve()
  t.deepEqual(answers, [])
  calls[0]!.settle([RESULT])
  await line.whenIdle()
  t.deepEqual(answers, ['a stored', 'bc stored stored'])
})

test('what does not go to the broker is answered behind what went before', async (t) => {
  const { line, calls, answers, chunk, answered } = lineOf()
  const refused = new BrokerError('PERMISSION_DENIED', 'no')
  chunk('a')
  line.answer(new Batch(answered), [refused])
  t.deepEqual(answers, [])
  calls[0]!.settle([RESULT])
  await line.whenIdle()
  t.deepEqual(answers, ['a stored', ' PERMISSION_DENIED'])
  line.answer(new Batch(answered), [refused])
  t.is(answers.length, 3, 'at once where nothing waits')
})

test('a call that fails, or answers for too few, refuses each of its messages', async (t) => {
  const { line, calls, answers, chunk } = lineOf()
  chunk('a', 'b')
  chunk('c', 'd')
  calls[0]!.fail(new BrokerError('BUSY', 'later'))
  calls[1]!.settle([RESULT])
  await line.whenIdle()
  t.deepEqual(answers, ['ab BUSY BUSY', 'cd INTERNAL INTERNAL'])
})

test('beyond its limit the line is full, until half of that is stored', async (t) => {
  const { line, calls, changes, chunk } = lineOf(100)
  chunk('x'.repeat(100))
  chunk('x')
  chunk('x'.repeat(40))
  t.true(line.isFull)
  calls[0]!.settle([RESULT])
  await new Promise((resolve) => setImmediate(resolve))
  t.false(line.isFull)
  line.grow(line.last!, 60)
  t.true(line.isFull)
  calls[1]!.settle([RESULT])
  calls[2]!.settle([RESULT])
  await line.whenIdle()
  t.deepEqual(changes, [true, false, true, false])
})

test('the line is idle once everything that came is answered, also what had not been flushed', async (t) => {
  const { line, calls, answers } = lineOf()
  line.batch.add('a')
  const idle = line.whenIdle()
  t.false(line.isIdle)
  calls[0]!.settle([RESULT])
  await idle
  t.true(line.isIdle)
  t.deepEqual(answers, ['a stored'])
})

// A node that does not let us read into a buffer of our own: the listener reads the ordinary way.

/** Takes the method away from every handle of this process, until the test is over. */
async function hideUserBuffers(t: Teardown): Promise<void> {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  const handle = (client as unknown as { _handle: object })._handle
  for (let at = Object.getPrototypeOf(handle); at !== null; at = Object.getPrototypeOf(at)) {
    const own = Object.getOwnPropertyDescriptor(at, 'useUserBuffer')
    if (own === undefined) continue
    Object.defineProperty(at, 'useUserBuffer', { value: undefined, configurable: true })
    const shown = at
    t.teardown(() => Object.defineProperty(shown, 'useUserBuffer', own))
  }
  client.destroy()
  server.close()
}

test('without a shared read buffer a connection works the same', async (t) => {
  await hideUserBuffers(t)
  const closed: (Error | undefined)[] = []
  const gateway: Gateway = {
    protocol: 'mqtt',
    connections: 0,
    accept(socket: GatewaySocket) {
      socket.onData((chunk) => {
        socket.write(Buffer.from(chunk))
        socket.pause()
        setImmediate(() => socket.resume())
      })
      socket.onClose((error) => closed.push(error))
      socket.resume()
    },
    close: async () => {},
  }
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    name: 'mqtt',
    limits: {
      connectionsMax: 10,
      connectionsPerAddressMax: 10,
      unsentBytesMax: 65_536 * 64,
      writeStallMs: 30_000,
      silentMs: 10_000,
    },
    log: silentLogger,
    clock: new FakeClock(),
  })
  listener.serve(gateway)
  t.teardown(() => listener.close())
  const client = connect(listener.port, '127.0.0.1')
  const sent = Buffer.alloc(400_000, 'abcdefg')
  client.write(sent)
  const chunks: Buffer[] = []
  let bytes = 0
  while (bytes < sent.length) {
    const [chunk] = (await once(client, 'data')) as [Buffer]
    chunks.push(chunk)
    bytes += chunk.length
  }
  t.true(Buffer.concat(chunks).equals(sent))
  client.end()
  await once(client, 'close')
  while (listener.connections > 0) await new Promise(setImmediate)
  t.deepEqual(closed, [undefined])
})

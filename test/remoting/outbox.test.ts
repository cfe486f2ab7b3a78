import test from 'ava'
import fc from 'fast-check'
import { Outbox } from '../../src/remoting/outbox.ts'

class FakeSocket {
  readonly written: Buffer[] = []
  unsentBytes = 0
  isEnded = false
  write(bytes: Buffer): boolean {
    this.written.push(bytes)
    return true
  }
  end(): void {
    this.isEnded = true
  }
  destroy(): void {}
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('small pieces of one turn are one write, large ones are not copied', async (t) => {
  const socket = new FakeSocket()
  const outbox = new Outbox(socket)
  const large = Buffer.alloc(100_000)
  for (const piece of [Buffer.from('a'), Buffer.from('b'), large, Buffer.from('c')])
    outbox.push(piece)
  t.is(outbox.unsentBytes, 100_003)
  t.is(socket.written.length, 0)
  await turn()
  t.deepEqual(
    socket.written.map((bytes) => bytes.length),
    [2, 100_000, 1],
  )
  t.is(socket.written[1], large)
})

test('every byte is written once and in order', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 12 }),
      async (sizes) => {
        const socket = new FakeSocket()
        const outbox = new Outbox(socket)
        const pieces = sizes.map((size, i) => Buffer.alloc(size, i + 1))
        for (const piece of pieces) outbox.push(piece)
        await turn()
        t.true(Buffer.concat(socket.written).equals(Buffer.concat(pieces)))
        t.is(outbox.unsentBytes, 0)
      },
    ),
    { numRuns: 50 },
  )
})

test('an end sends what is gathered; after it nothing is taken', async (t) => {
  const socket = new FakeSocket()
  const outbox = new Outbox(socket)
  outbox.push(Buffer.from('last'))
  outbox.end()
  outbox.push(Buffer.from('too late'))
  await turn()
  t.is(Buffer.concat(socket.written).toString(), 'last')
  t.true(socket.isEnded)
})

test('the listener is told when a turn was handed over', async (t) => {
  let flushes = 0
  const outbox = new Outbox(new FakeSocket(), () => flushes++)
  outbox.push(Buffer.from('a'))
  outbox.push(Buffer.from('b'))
  await turn()
  t.is(flushes, 1)
})

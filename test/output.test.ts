import test from 'ava'
import fc from 'fast-check'
import { BLOCK_BYTES, Output } from '../src/output.ts'

class FakeSocket {
  readonly written: Buffer[] = []
  /** As they were given; the kernel has a copy of theirs. */
  readonly given: Buffer[] = []
  unsentBytes = 0
  isStuck = false
  isEnded = false
  write(bytes: Buffer): void {
    this.given.push(bytes)
    this.written.push(Buffer.from(bytes))
    if (this.isStuck) this.unsentBytes += bytes.length
  }
  end(): void {
    this.isEnded = true
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('small pieces of one turn are one write, large ones are not copied', async (t) => {
  const socket = new FakeSocket()
  const output = new Output(socket)
  const large = Buffer.alloc(100_000)
  output.push(Buffer.from('a'))
  output.push(Buffer.from('b'))
  t.is(output.unsentBytes, 2)
  t.is(socket.written.length, 0)
  for (const piece of [large, Buffer.from('c')]) output.push(piece)
  await turn()
  t.deepEqual(
    socket.written.map((bytes) => bytes.length),
    [2, 100_000, 1],
  )
  t.is(socket.given[1], large)
})

test('a peer that takes nothing is not kept a whole block for a few bytes', async (t) => {
  const socket = new FakeSocket()
  socket.isStuck = true
  const output = new Output(socket)
  for (let i = 0; i < 100; i++) {
    output.push(Buffer.from('ping'))
    await turn()
  }
  const kept = new Set(socket.given.map(({ buffer }) => buffer))
  const bytes = [...kept].reduce((sum, { byteLength }) => sum + byteLength, 0)
  t.is(output.unsentBytes, 400)
  t.true(bytes <= 2 * BLOCK_BYTES, `${bytes} bytes are kept`)
})

test('a socket that keeps what it is given for a moment is given no whole block for a few bytes', async (t) => {
  // As TLS: the bytes are the kernel's one step later.
  class KeepingSocket extends FakeSocket {
    readonly keepsBytes = true
    override write(bytes: Buffer): void {
      super.write(bytes)
      this.unsentBytes += bytes.length
      queueMicrotask(() => {
        this.unsentBytes = 0
      })
    }
  }
  const socket = new KeepingSocket()
  const output = new Output(socket)
  for (let i = 0; i < 100; i++) {
    output.push(Buffer.from('ping'))
    await turn()
  }
  const kept = new Set(socket.given.map(({ buffer }) => buffer))
  t.true([...kept].every(({ byteLength }) => byteLength < BLOCK_BYTES))
})

test('every byte is written once and in order', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 12 }),
      async (sizes) => {
        const socket = new FakeSocket()
        const output = new Output(socket)
        const pieces = sizes.map((size, i) => Buffer.alloc(size, i + 1))
        for (const piece of pieces) output.push(piece)
        await turn()
        t.true(Buffer.concat(socket.written).equals(Buffer.concat(pieces)))
        t.is(output.unsentBytes, 0)
      },
    ),
    { numRuns: 50 },
  )
})

test('an end sends what is gathered; after it nothing is taken', async (t) => {
  const socket = new FakeSocket()
  const output = new Output(socket)
  output.push(Buffer.from('last'))
  output.end()
  output.push(Buffer.from('too late'))
  await turn()
  t.is(Buffer.concat(socket.written).toString(), 'last')
  t.true(socket.isEnded)
})

test('the owner is told once when a turn ends', async (t) => {
  let flushes = 0
  const output = new Output(new FakeSocket(), () => flushes++)
  output.push(Buffer.from('a'))
  output.push(Buffer.from('b'))
  await turn()
  t.is(flushes, 1)
})

// LZ4 and Zstandard, written by their own tools (zstd 1.5.4, lz4 1.9.4) and read by us.
import { readFile } from 'node:fs/promises'
import test from 'ava'
import fc from 'fast-check'
import { inflateBy, type Method } from '../../src/remoting/inflate/inflate.ts'

/** Compiled files sit one folder deeper than their sources. */
const FOLDER = new URL('../../../test/support/compressed/', import.meta.url)
const compressed = (name: string): Promise<Buffer> => readFile(new URL(name, FOLDER))

/** More than one block of either method. */
const ORDERS = Buffer.from(
  Array.from({ length: 4000 }, (_, i) => {
    const state = i % 13 === 0 ? 'paid' : 'open'
    return `order ${i} of customer ${(i * 7919) % 101}: ${state}, ${(i * i) % 37} items\n`
  }).join(''),
)
const BYTES = Buffer.from(
  Array.from({ length: 3000 }, (_, i) => Math.floor(((i * 7919) % 1000) ** 2 / 4000)),
)
const MIB = 1024 * 1024

const FILES: readonly (readonly [string, Method, Buffer])[] = [
  ['orders-fast.zst', 'Zstandard', ORDERS],
  ['orders-1.zst', 'Zstandard', ORDERS],
  ['orders-3.zst', 'Zstandard', ORDERS],
  ['orders-19.zst', 'Zstandard', ORDERS],
  ['bytes.zst', 'Zstandard', BYTES],
  ['orders-linked.lz4', 'LZ4', ORDERS],
  ['orders-plain.lz4', 'LZ4', ORDERS],
]

for (const [file, method, plain] of FILES) {
  test(`${file} is what was compressed, to the byte that it may have and no further`, async (t) => {
    const body = await compressed(file)
    t.true(inflateBy(method, body, plain.length)!.equals(plain))
    t.is(inflateBy(method, body, plain.length - 1), undefined)
  })

  test(`${file}, twice in a row, is both`, async (t) => {
    const body = await compressed(file)
    const both = inflateBy(method, Buffer.concat([body, body]), MIB)
    t.true(both!.equals(Buffer.concat([plain, plain])))
  })

  test(`a part of ${file} is an error`, async (t) => {
    const body = await compressed(file)
    for (let i = 0; i < 200; i++) {
      const part = body.subarray(0, 1 + Math.floor(((body.length - 6) * i) / 200))
      t.throws(() => inflateBy(method, part, MIB), { name: 'Error' }, `${part.length} bytes`)
    }
  })

  test(`${file} with other bytes in it is an error, or other bytes within the limit`, async (t) => {
    const body = await compressed(file)
    const change = fc.record({ at: fc.nat(body.length - 1), byte: fc.nat(255) })
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const changed = Buffer.from(body)
        for (const { at, byte } of changes) changed[at] = byte
        try {
          const inflated = inflateBy(method, changed, 256 * 1024)
          return inflated === undefined || inflated.length <= 256 * 1024
        } catch (error) {
          return error instanceof Error && !(error instanceof RangeError)
        }
      }),
      { numRuns: 100 },
    )
    t.pass()
  })
}

const zstdHead = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50])

function zstdBlock(kind: 0 | 1, size: number, isLast: boolean, byte = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(3)
  head.writeUIntLE((size << 3) | (kind << 1) | Number(isLast), 0, 3)
  return Buffer.concat([head, byte])
}

test('a frame that says one byte over and over ends at the limit', (t) => {
  const blocks = Array.from({ length: 9 }, (_, i) =>
    zstdBlock(1, 128 * 1024, i === 8, Buffer.from('a')),
  )
  const body = Buffer.concat([zstdHead, ...blocks])
  t.is(inflateBy('Zstandard', body, MIB), undefined)
  t.is(inflateBy('Zstandard', body, 2 * MIB)!.length, 9 * 128 * 1024)
})

test('a body of more blocks than one can need is not read', (t) => {
  const of = (count: number): Buffer =>
    Buffer.concat([
      zstdHead,
      ...Array.from({ length: count }, (_, i) => zstdBlock(0, 0, i === count - 1)),
    ])
  t.is(inflateBy('Zstandard', of(1023), MIB)!.length, 0)
  t.is(inflateBy('Zstandard', of(1024), MIB), undefined)
})

test('LZ4 of more blocks than one can need is not read', (t) => {
  const head = Buffer.from('04224d18404000', 'hex')
  const block = Buffer.from('0100000000', 'hex')
  const of = (count: number): Buffer =>
    Buffer.concat([head, ...new Array<Buffer>(count).fill(block), Buffer.alloc(4)])
  t.is(inflateBy('LZ4', of(16_382), 1024)?.length, 0)
  t.is(inflateBy('LZ4', of(16_383), 1024), undefined)
})

test('a window that is larger than bodies costs nothing', (t) => {
  const body = Buffer.concat([zstdHead, zstdBlock(1, 5, true, Buffer.from('a'))])
  // 128 MiB.
  body[5] = 0x88
  t.is(inflateBy('Zstandard', body, 5)!.toString(), 'aaaaa')
})

test('what may stand between frames is stepped over', (t) => {
  const between = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2])
  const frame = Buffer.concat([zstdHead, zstdBlock(1, 3, true, Buffer.from('a'))])
  const body = Buffer.concat([between, frame, between, frame])
  t.is(inflateBy('Zstandard', body, MIB)!.toString(), 'aaaaaa')
})

for (const method of ['Zstandard', 'LZ4'] as const) {
  test(`bytes that are no ${method} are an error`, (t) => {
    const none = { message: new RegExp(`no ${method} frame begins there`) }
    t.throws(() => inflateBy(method, Buffer.from('something else'), MIB), none)
    t.throws(() => inflateBy(method, Buffer.from('x'), MIB), { message: /it ends too early/ })
  })
}
